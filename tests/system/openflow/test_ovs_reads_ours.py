"""ovs-ofctl prints our bytes as what we meant."""

import subprocess

import pytest

from weft.network.southbound.openflow import actions as a
from weft.network.southbound.openflow import messages as m
from weft.network.southbound.openflow.codec import encode
from weft.network.southbound.openflow.oxm import match

FLOW = m.FlowMod(
    match(in_port=1, eth_type=0x0800, ipv4_dst="10.0.0.0/8", ip_proto=6, tcp_dst=80),
    (a.ApplyActions((a.Output(2),)),),
    priority=5, table=2, cookie=7,
)  # fmt: skip
CASES = [
    (FLOW, "ADD table:2 priority=5,tcp,in_port=1,nw_dst=10.0.0.0/8,tp_dst=80 cookie:0x7 actions=output:2"),
    (m.Hello(), "version bitmap: 0x04"),
    (m.BundleControl(9, m.BundleStep.COMMIT_REQUEST), "bundle_id=0x9 type=COMMIT_REQUEST flags=atomic ordered"),
    (m.BundleAdd(9, FLOW), "tp_dst=80"),
    (
        m.GroupMod(5, (a.Bucket((a.Output(1),), watch_port=1), a.Bucket((a.Output(a.IN_PORT),), watch_port=2)),
                   m.GroupCommand.ADD, m.GroupType.FAST_FAILOVER),
        "group_id=5,type=ff,bucket=watch_port:1,actions=output:1,bucket=watch_port:2,actions=IN_PORT",
    ),
    (m.PacketOut(bytes(60), (a.Output(3),)), "actions=output:3"),
    (
        m.FlowMod(match(eth_type=0x0800, ip_proto=17), (a.ApplyActions((a.Spread((1, 2, 3), 7),)),)),
        "actions=bundle(symmetric_l3l4+udp,7,hrw,ofport,members:1,2,3)",
    ),
    (m.FlowStatsRequest(match(eth_dst="00:00:00:00:00:07")), "dl_dst=00:00:00:00:00:07"),
    (m.PortDescRequest(), "OFPST_PORT_DESC request"),
    (m.RoleRequest(m.Role.MASTER, 3), "role=primary generation_id=3"),
]  # fmt: skip


@pytest.mark.parametrize(("message", "words"), CASES)
def test_ovs_prints_what_we_meant(message: m.Message, words: str) -> None:
    shown = subprocess.run(("ovs-ofctl", "ofp-print", encode(message, 3).hex()), capture_output=True, text=True)
    assert words in " ".join(shown.stdout.split()), shown
