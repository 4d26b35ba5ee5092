"""What FRR 8.4 and BIRD 2.0.12 were seen to answer, as neighbours."""

from hypothesis import given
from hypothesis import strategies as st

from weft.network.routing.peers import neighbors
from weft.network.routing.peers.neighbors import Neighbor, Seen

FRR_OSPF = """{ "neighbors":{ "1.1.1.2":[ {"priority":1, "nbrState":"Full\\/-", "ifaceAddress":"10.0.1.2",
 "ifaceName":"b2:10.0.1.1"}, {"nbrState":"2-Way\\/DROther", "ifaceAddress":"10.0.2.2", "ifaceName":"lan:10.0.2.1"}]}}"""
FRR_BFD = '[{"multihop":false,"peer":"10.0.1.2","interface":"b2","status":"up"}]'
FRR_RIP = '{"1.1.1.3/32":[{"nexthops":[{"ip":"10.0.1.2","interfaceName":"b2"}]}]}'
FRR_SUMMARY = '{"routes":[{"fib":2,"rib":2,"type":"connected"},{"fib":5,"rib":7,"type":"ospf"}],"routesTotal":9}'
BIRD_OSPF = """1013-ospf1:
 Router ID   \tPri\t     State     \tDTime\tInterface  Router IP
 1.1.1.1     \t  1\tFull/PtP  \t 3.849\tf1         10.0.1.1
0000
"""
BIRD_BFD = """1020-bfd1:
 IP address                Interface  State      Since         Interval  Timeout
 10.0.1.1                  f1         Up         21:01:26.023    0.100    0.300
0000
"""
BIRD_RIP = """1022-rip1:
 IP address                Interface  Metric Routes    Seen
 10.0.1.1                  f1              1      1   3.128
0000
"""
BIRD_COUNT = "1007-3 of 4 routes for 2 networks in table master4\n 0 of 0 routes for 0 networks in table master6\n"


def test_frr() -> None:
    assert neighbors.frr(FRR_OSPF, FRR_BFD, "", FRR_SUMMARY) == Seen(
        (
            Neighbor("bfd", "b2", "10.0.1.2", "Up"),
            Neighbor("ospf", "b2", "10.0.1.2", "Full", "1.1.1.2"),
            Neighbor("ospf", "lan", "10.0.2.2", "2-Way", "1.1.1.2"),
        ),
        5,
    )
    assert neighbors.frr(rip=FRR_RIP).neighbors == (Neighbor("rip", "b2", "10.0.1.2", "Up"),)


def test_bird() -> None:
    assert neighbors.bird(BIRD_OSPF, BIRD_BFD, "9001 There is no RIP protocol running\n", BIRD_COUNT) == Seen(
        (Neighbor("bfd", "f1", "10.0.1.1", "Up"), Neighbor("ospf", "f1", "10.0.1.1", "Full", "1.1.1.1")), 3
    )
    assert neighbors.bird(rip=BIRD_RIP).neighbors == (Neighbor("rip", "f1", "10.0.1.1", "Up"),)


@given(st.text(), st.sampled_from(["[]", "[1]", "{}", '{"neighbors": 3}', '{"neighbors": {"a": [{}]}}', "null"]))
def test_other_answers_say_nothing_and_do_no_harm(text: str, json: str) -> None:
    neighbors.bird(text, text, text, text)
    neighbors.frr(text, text, text, text)
    neighbors.frr(json, json, json, json)
