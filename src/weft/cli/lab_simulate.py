"""`weft lab simulate`: a lab file and its schedule in virtual time, and what each event did.

In: a lab file. Out: a table, or JSON for programs. Needs no root and no Weft that is up. The exit code is 1 where
packets do not arrive in the end that could.
"""

import dataclasses
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from weft.network.dataplane.simulation import Effect, Result


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--seed", type=int, default=1, show_default=True, help="Of all chance: the same gives the same run.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    help="End this long after the lab is up.  [default: when all is at rest after the last event]",
)
@click.option("--every-link", is_flag=True, help="Cut each link for 10 s, one after another, not the file's schedule.")
@click.option("--flows", type=click.IntRange(min=1), default=200, show_default=True, help="How many to watch at most.")
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def simulate(
    ctx: click.Context, file: Path, seed: int, seconds: float | None, every_link: bool, flows: int, output: str
) -> None:
    """Run the lab in FILE and its schedule in virtual time: the same protocols, on links that are simulated."""
    from weft.cli.lab_file import read_lab
    from weft.network.dataplane import simulation
    from weft.network.topology.reader import read_topology

    read = read_lab(file)
    topology = read_topology(read.topology)
    policies = {policy["metadata"]["name"]: policy for policy in read.policies}
    began = time.perf_counter()
    schedule = simulation.every_link(topology) if every_link else None
    lab = simulation.SimulatedLab(
        topology, seed=seed, flows=flows, schedule=schedule, seconds=seconds, policies=policies
    )
    result = lab.run()
    if output == "json":
        click.echo(json.dumps(dataclasses.asdict(result)))
    else:
        click.echo("\n".join(_text(result, time.perf_counter() - began)))
    ctx.exit(0 if result.delivered == result.possible else 1)


def _text(result: "Result", took: float) -> list[str]:
    up = f"up after {_time(result.start)}" if result.start is not None else "never up"
    lines = [f"lab {result.lab}: {up}; {result.flows} flows watched, seed {result.seed}"]
    if result.effects:
        header = ("AT", "EVENT", "INTERRUPTED", "MEDIAN", "LONGEST", "LOOPED", "CUT OFF", "SETTLED", "PACKETS")
        rows = [header, *(_row(effect) for effect in result.effects)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
        for row in rows:
            lines.append("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    lines += [f"does not arrive: {each}" for each in result.failing[:10]]
    if len(result.failing) > 10:
        lines.append(f"does not arrive: {len(result.failing) - 10} more")
    sent = ", ".join(f"{count} packets of {name}" for name, count in sorted(result.packets.items())) or "no packets"
    lines.append(
        f"at the end {result.delivered} of {result.possible} flows arrive that can; {sent};"
        f" {result.seconds:g} s in {took:.2f} s"
    )
    return lines


def _row(effect: "Effect") -> tuple[str, ...]:
    lasting = f" ({effect.lasting} for good)" if effect.lasting else ""
    return (
        f"{effect.at:g} s",
        effect.event,
        f"{effect.interrupted}{lasting}" if effect.interrupted else "-",
        _time(effect.median_outage) if effect.interrupted else "-",
        _time(effect.longest_outage) if effect.interrupted else "-",
        f"{effect.looped}, {_time(effect.longest_loop)}" if effect.looped else "-",
        str(effect.cut_off) if effect.cut_off else "-",
        _time(effect.settled),
        " ".join(f"{name} {count}" for name, count in sorted(effect.packets.items())) or "-",
    )


def _time(seconds: float) -> str:
    if not seconds:
        return "0"
    if seconds >= 1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} us"
