"""os-ken's side of `bench.openflow`, run by the Python that has it, never imported: an application and its start.

In: the port to listen on, and BENCH_FLOWS in the environment. Out: for each switch that connects, the seconds that so
many flow-mods and a barrier took, on standard output; a flow and a packet-out for each packet-in.
"""

import os
import sys
import time

from os_ken import cfg
from os_ken.base import app_manager
from os_ken.controller import ofp_event
from os_ken.controller.handler import CONFIG_DISPATCHER, MAIN_DISPATCHER, set_ev_cls
from os_ken.ofproto import ofproto_v1_3

FLOWS = int(os.environ.get("BENCH_FLOWS", "0"))


class Bench(app_manager.OSKenApp):
    OFP_VERSIONS = (ofproto_v1_3.OFP_VERSION,)

    @set_ev_cls(ofp_event.EventOFPSwitchFeatures, CONFIG_DISPATCHER)
    def features(self, event):
        datapath, parser, protocol = event.msg.datapath, event.msg.datapath.ofproto_parser, event.msg.datapath.ofproto
        self.began = time.perf_counter()
        for n in range(FLOWS):
            match = parser.OFPMatch(eth_type=0x0800, ipv4_dst=f"10.{n >> 8 & 255}.{n & 255}.1")
            out = [parser.OFPInstructionActions(protocol.OFPIT_APPLY_ACTIONS, [parser.OFPActionOutput(1)])]
            datapath.send_msg(parser.OFPFlowMod(datapath=datapath, match=match, instructions=out, priority=9))
        datapath.send_msg(parser.OFPBarrierRequest(datapath))

    @set_ev_cls(ofp_event.EventOFPBarrierReply, [CONFIG_DISPATCHER, MAIN_DISPATCHER])
    def barrier(self, event):
        print(f"flows {time.perf_counter() - self.began}", flush=True)

    @set_ev_cls(ofp_event.EventOFPPacketIn, MAIN_DISPATCHER)
    def packet_in(self, event):
        message, datapath = event.msg, event.msg.datapath
        parser, protocol = datapath.ofproto_parser, datapath.ofproto
        actions = [parser.OFPActionOutput(2)]
        match = parser.OFPMatch(in_port=message.match["in_port"], eth_dst=message.data[:6].hex(":"))
        out = [parser.OFPInstructionActions(protocol.OFPIT_APPLY_ACTIONS, actions)]
        datapath.send_msg(parser.OFPFlowMod(datapath=datapath, match=match, instructions=out, priority=9))
        packet = parser.OFPPacketOut(
            datapath=datapath, buffer_id=message.buffer_id, in_port=message.match["in_port"], actions=actions,
            data=message.data,
        )  # fmt: skip
        datapath.send_msg(packet)


if __name__ == "__main__":
    cfg.CONF(["--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", sys.argv[1]], project="os_ken")
    sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
    app_manager.AppManager.run_apps(["openflow_osken", "os_ken.controller.ofp_handler"])
