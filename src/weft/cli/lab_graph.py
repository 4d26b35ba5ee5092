"""`weft lab graph`, `convert` and `generate`: labs as pictures, and lab files from other formats and from rules.

In: a lab file, a GraphML, GML or SNDlib file, numbers, or a lab that is up. Out: SVG, text, DOT or a lab file, on
standard output or in a file. `weft.cli.lab` has the commands in its group.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from weft.core.errors import InvalidError

if TYPE_CHECKING:
    from weft.network.topology.building import Options
    from weft.network.topology.model import Topology

Command = Callable[..., Any]
_FORMS = ("svg", "text", "dot")
_SUFFIXES = {".svg": "svg", ".txt": "text", ".dot": "dot", ".gv": "dot"}
_LAB_SUFFIXES = (".yaml", ".yml", ".json")

_output_option = click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write there, not to standard output."
)


@click.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--lab", "name", metavar="NAME", help="Which lab that is up; needed where several are.")
@click.option("--format", "form", type=click.Choice(_FORMS), help="[default: by the output's suffix, else text]")
@click.option("--layout", type=click.Choice(["map", "layers", "force"]), help="[default: what suits the lab]")
@_output_option
@click.pass_context
def graph(
    ctx: click.Context, file: Path | None, name: str | None, form: str | None, layout: Any, output: Path | None
) -> None:
    """Draw a lab: the one in FILE, or one that is up, with its links that are cut and its nodes that are down."""
    from weft.network.topology.drawing import draw, draw_dot
    from weft.network.topology.svg import draw_svg

    if file is not None and name is not None:
        raise InvalidError("cannot draw both a file and a lab that is up: leave out FILE or --lab")
    topology, cut, failed = _from_file(file) if file is not None else _running(ctx, name)
    form = form or (_SUFFIXES.get(output.suffix.lower(), "text") if output is not None else "text")
    if form == "svg":
        text = draw_svg(topology, cut, failed, layout)
    elif form == "dot":
        text = draw_dot(topology, cut)
    else:
        text = "\n".join(draw(topology, cut)) + "\n"
    _write(text, output)


Drawn = tuple["Topology", frozenset[str], frozenset[str]]


def _from_file(file: Path) -> Drawn:
    """A lab file by its suffix, else one of the other formats."""
    from weft.cli.lab_file import read_file
    from weft.network.topology.building import Options
    from weft.network.topology.formats import read_graph, to_topology
    from weft.network.topology.reader import read_topology

    if file.suffix.lower() in _LAB_SUFFIXES:
        topology = read_topology(read_file(file))
    else:
        topology, _ = to_topology(read_graph(file), Options())
    return topology, frozenset(link.name for link in topology.links if link.state == "down"), frozenset()


def _running(ctx: click.Context, name: str | None) -> Drawn:
    from weft.cli.lab import _view

    view = _view(ctx, name)
    failed = set()
    for node in view.model.node_names:
        there = view.find_node(node)
        if there is None or (there.get("status") or {}).get("phase") == "Failed":
            failed.add(node)
    return view.model, frozenset(view.cut_links()), frozenset(failed)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidError(f"cannot write {output}: {error.strerror}") from error
    click.echo(f"wrote {output}", err=True)


# What a source leaves open


@dataclass
class _Choices:
    """The options that `convert` and `generate` share, as they stood on the command line."""

    name: str
    hosts: int
    capacity: str
    delay: str
    cost: int
    distance_delay: bool
    routing: dict[str, Any] = field(default_factory=dict)

    def options(self) -> "Options":
        """Raises InvalidError."""
        from weft.network.topology.building import Options
        from weft.network.topology.fields import Fields
        from weft.network.topology.routing_reader import read_defaults
        from weft.network.topology.units import parse_delay, parse_rate

        fields = Fields()
        options = Options(
            name=self.name,
            hosts=self.hosts,
            capacity=fields.text("--capacity", self.capacity, parse_rate, 0),
            delay=fields.text("--delay", self.delay, parse_delay, 0),
            cost=self.cost,
            geographic=self.distance_delay,
            routing=read_defaults(fields, "spec.routing", {key: value for key, value in self.routing.items() if value}),
        )
        if fields.errors:
            raise InvalidError(str(fields.errors[0]))
        return options


def _with_choices(command: Command) -> Command:
    """Adds the options, and puts `choices` in their place."""
    import functools

    @click.option("--name", default="", help="The lab's name.  [default: by its source]")
    @click.option("--hosts", type=click.IntRange(min=0), default=0, help="Hosts at each router.  [default: none]")
    @click.option("--capacity", default="", metavar="RATE", help="Of links that do not say, such as 1Gbit.")
    @click.option("--delay", default="", metavar="TIME", help="Of links that do not say, such as 5ms.")
    @click.option("--cost", type=click.IntRange(1, 65535), default=1, help="Of links that do not say.  [default: 1]")
    @click.option(
        "--distance-delay/--no-distance-delay",
        default=True,
        help="Delay by distance, where places are known.  [default: yes]",
    )
    @click.option("--protocol", type=click.Choice(["spf", "ospf", "rip", "none"]), help="What routers run.")
    @click.option("--daemon", type=click.Choice(["weft", "frr", "bird"]), help="What runs OSPF or RIP in them.")
    @functools.wraps(command)
    def wrapped(
        name: str,
        hosts: int,
        capacity: str,
        delay: str,
        cost: int,
        distance_delay: bool,
        protocol: str | None,
        daemon: str | None,
        **rest: Any,
    ) -> Any:
        routing = {"protocol": protocol, "daemon": daemon}
        return command(choices=_Choices(name, hosts, capacity, delay, cost, distance_delay, routing), **rest)

    return wrapped


def _write_lab(topology: "Topology", made_by: str, output: Path | None) -> None:
    from weft.network.topology.writer import topology_yaml

    _write(f"# Made by `{made_by}`.\n{topology_yaml(topology)}", output)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--from", "form", type=click.Choice(["graphml", "gml", "sndlib"]), help="[default: what the file looks like]"
)
@_with_choices
@_output_option
def convert(file: Path, form: str | None, choices: _Choices, output: Path | None) -> None:
    """Make a lab file of FILE: GraphML or GML, as the Topology Zoo has them, or SNDlib's native format or XML.

    Nodes become routers. What the lab does not have of the file is said on standard error.
    """
    from weft.network.topology.formats import read_graph, to_topology

    topology, notes = to_topology(read_graph(file, form or ""), choices.options())
    for note in notes:
        click.echo(f"{file}: {note}", err=True)
    _write_lab(topology, f"weft lab convert {_one_line(file.name)}", output)


def _one_line(text: str) -> str:
    return " ".join(text.split())


@click.group()
def generate() -> None:
    """Make a lab file by rule: rings, trees, fat-trees, grids and random graphs."""


@dataclass(frozen=True)
class _Rule:
    """A generator of `weft.network.topology.generators`: its arguments, its own options, whether it has a seed."""

    help: str
    arguments: Mapping[str, type]
    options: Mapping[str, tuple[type, Any, str]] = field(default_factory=dict)
    seeded: bool = False


_RULES = {
    "line": _Rule("COUNT routers in a row.", {"count": int}),
    "ring": _Rule("COUNT routers in a ring.", {"count": int}),
    "star": _Rule("A router with LEAVES routers around it.", {"leaves": int}),
    "tree": _Rule("A tree of DEPTH levels below its root, where each router has FANOUT below; hosts at the leaves.",
                  {"depth": int, "fanout": int}),
    "fat-tree": _Rule("A fat-tree of routers with K ports, with K/2 hosts at each edge router, or as many as --hosts.",
                      {"k": int}),
    "grid": _Rule("ROWS times COLUMNS routers.", {"rows": int, "columns": int}),
    "torus": _Rule("ROWS times COLUMNS routers, where rows and columns are rings.", {"rows": int, "columns": int}),
    "random": _Rule("COUNT routers, where each two have a link with PROBABILITY; always connected.",
                    {"count": int, "probability": float}, seeded=True),
    "waxman": _Rule("COUNT routers in a square; the nearer two are, the more likely they have a link.",
                    {"count": int},
                    {"alpha": (float, 0.15, "How likely long links are."),
                     "beta": (float, 0.6, "How likely links are."),
                     "size": (float, 1000.0, "The side of the square, in km.")},
                    seeded=True),
    "scale-free": _Rule("COUNT routers with a few hubs; each that comes has LINKS links to those before.",
                        {"count": int, "links": int}, seeded=True),
}  # fmt: skip


def _add(name: str, rule: _Rule) -> None:
    def run(choices: _Choices, output: Path | None, **values: Any) -> None:
        from weft.network.topology import generators

        options = choices.options()
        if name == "fat-tree" and _given("hosts"):
            values["hosts"] = choices.hosts
        topology = getattr(generators, name.replace("-", "_"))(options=options, **values)
        said = [str(values[key]) for key in rule.arguments]
        said += [f"--{key} {values[key]}" for key in (*rule.options, *(["seed"] if rule.seeded else []))]
        _write_lab(topology, f"weft lab generate {name} {' '.join(said)}", output)

    command: Command = _output_option(run)
    if rule.seeded:
        command = click.option("--seed", type=int, default=1, help="Another seed, another graph.  [default: 1]")(
            command
        )
    for key, (kind, default, text) in reversed(list(rule.options.items())):
        shown = f"{text}  [default: {default:g}]"
        command = click.option(f"--{key}", type=kind, default=default, help=shown)(command)
    command = _with_choices(command)
    for key, kind in reversed(list(rule.arguments.items())):
        command = click.argument(key, type=kind)(command)
    generate.command(name, help=rule.help)(command)


def _given(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is not click.core.ParameterSource.DEFAULT


for _name, _rule in _RULES.items():
    _add(_name, _rule)
