"""Every lab that we ship runs in virtual time, and survives the loss of each of its links."""

from pathlib import Path

import pytest
import yaml

from weft.network.dataplane.simulation import SimulatedLab, every_link
from weft.network.topology.reader import read_topology

LABS = sorted((Path(__file__).parents[4] / "examples/labs").glob("*.yaml"))


@pytest.mark.parametrize("file", LABS, ids=lambda file: file.stem)
def test_an_example_in_virtual_time(file: Path) -> None:
    obj = next(each for each in yaml.safe_load_all(file.read_text()) if each["kind"] == "Topology")
    topology = read_topology(obj)
    links = every_link(topology)
    result = SimulatedLab(topology, flows=40, schedule=[*topology.schedule, *links[: min(len(links), 12)]]).run()
    assert result.start is not None
    assert result.effects
    assert result.failing == ()
    assert result.delivered == result.possible > 0
    assert all(effect.longest_loop < 0.1 for effect in result.effects)
