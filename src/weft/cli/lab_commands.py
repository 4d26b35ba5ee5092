"""All of `weft lab`: the group with the commands of its modules."""

from weft.cli.lab import lab
from weft.cli.lab_graph import convert, generate, graph
from weft.cli.lab_simulate import simulate
from weft.cli.lab_watch import flap, watch

for command in (graph, convert, generate, flap, simulate, watch):
    lab.add_command(command)

__all__ = ["lab"]
