"""A million IPv4 prefixes in a route table, beside pytricia and py-radix (both in C; Weft's is Python alone).

Lengths are spread about as in the Internet's table (mostly /24, then /22, /23, /20); a seed makes them the same in
every run. Each table runs in a process of its own, so that the memory of one does not count for another.
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec

from bench.measure import Row

ROUTES, LOOKUPS, UPDATES, HOPS = 1_000_000, 1_000_000, 100_000, 64
# Per cent of prefixes by length.
LENGTHS = {24: 60.0, 23: 10.0, 22: 11.5, 21: 5.0, 20: 4.5, 19: 2.6, 18: 1.5, 17: 1.0, 16: 1.5, 15: 0.3, 14: 0.2,
           13: 0.1, 12: 0.1, 11: 0.05, 10: 0.03, 9: 0.02, 8: 0.02, 32: 1.0, 29: 0.3, 28: 0.2, 25: 0.1}  # fmt: skip
Prefix = tuple[int, int]


def prefixes(count: int) -> list[Prefix]:
    """Distinct (network, length) between 1.0.0.0 and 223.255.255.255."""
    rng = random.Random(20)
    found: dict[Prefix, None] = {}
    lengths = rng.choices(list(LENGTHS), list(LENGTHS.values()), k=2 * count)
    for length in lengths:
        if len(found) == count:
            break
        found[rng.randrange(1 << 24, 224 << 24) >> (32 - length) << (32 - length), length] = None
    if len(found) < count:
        raise RuntimeError("too few prefixes")
    return list(found)


def text(number: int) -> str:
    return f"{number >> 24}.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def _resident() -> float:
    """Of this process, MiB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096 / 2**20


def _timed(what: str, action: Callable[[], object], figures: dict[str, float]) -> None:
    began = time.perf_counter()
    action()
    figures[what] = time.perf_counter() - began


def _weft(figures: dict[str, float]) -> Callable[[str], object]:
    from weft.network.routing.rib.table import RouteTable

    table: RouteTable[int] = RouteTable()
    routes = prefixes(ROUTES)
    asked, changed = questions(), routes[:: ROUTES // UPDATES]
    packed = [number.to_bytes(4) for number in asked]
    before = _resident()
    _timed("load", lambda: table.load_numbers((n, length, n % HOPS) for n, length in routes), figures)
    figures["memory"] = _resident() - before

    def look_up(lookup: Callable[[int], object]) -> None:
        for number in asked:
            lookup(number)

    def look_up_packed() -> None:
        lookup = table.lookup_packed
        for address in packed:
            lookup(address)

    def update() -> None:
        for number, length in changed:
            table.remove_number(number, length)
        for number, length in changed:
            table.add_number(number, length, 7)

    _timed("lookup", lambda: look_up(table.lookup_int), figures)
    _timed("lookup packed", look_up_packed, figures)
    _timed("update", update, figures)
    texts = [text(number) for number in asked]

    def look_up_text() -> None:
        for address in texts:
            table.lookup(address)

    _timed("lookup text", look_up_text, figures)
    return table.lookup


def _pytricia(figures: dict[str, float]) -> Callable[[str], object]:
    from pytricia import PyTricia  # type: ignore[import-not-found,unused-ignore]

    table = PyTricia(32)
    routes = [(f"{text(number)}/{length}", number % HOPS) for number, length in prefixes(ROUTES)]
    asked, changed = [text(number) for number in questions()], routes[:: ROUTES // UPDATES]
    before = _resident()

    def load() -> None:
        for prefix, hop in routes:
            table[prefix] = hop

    def look_up() -> None:
        for address in asked:
            table.get(address)

    def update() -> None:
        for prefix, _ in changed:
            del table[prefix]
        for prefix, _ in changed:
            table[prefix] = 7

    _timed("load", load, figures)
    figures["memory"] = _resident() - before
    _timed("lookup", look_up, figures)
    _timed("update", update, figures)
    return lambda address: table.get(address)


def _radix(figures: dict[str, float]) -> Callable[[str], object]:
    from radix import Radix  # type: ignore[import-untyped,import-not-found,unused-ignore]

    table = Radix()
    routes = [(number.to_bytes(4), length, number % HOPS) for number, length in prefixes(ROUTES)]
    asked, changed = [number.to_bytes(4) for number in questions()], routes[:: ROUTES // UPDATES]
    before = _resident()

    def load() -> None:
        for network, length, hop in routes:
            table.add(packed=network, masklen=length).data["hop"] = hop

    def look_up() -> None:
        for address in asked:
            table.search_best(packed=address)

    def update() -> None:
        for network, length, _ in changed:
            table.delete(packed=network, masklen=length)
        for network, length, _ in changed:
            table.add(packed=network, masklen=length).data["hop"] = 7

    def answer(address: str) -> object:
        node = table.search_best(address)
        return None if node is None else node.data["hop"]

    _timed("load", load, figures)
    figures["memory"] = _resident() - before
    _timed("lookup", look_up, figures)
    _timed("update", update, figures)
    return answer


def questions() -> list[int]:
    rng = random.Random(21)
    return [rng.randrange(1 << 24, 224 << 24) for _ in range(LOOKUPS)]


TABLES = {"weft": _weft, "pytricia": _pytricia, "radix": _radix}


def measure(name: str) -> dict[str, float]:
    done = subprocess.run([sys.executable, "-m", "bench.route_table", name], capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def run() -> Iterator[Row]:
    ours = measure("weft")
    for peer, name in (("pytricia", "pytricia"), ("py-radix", "radix")):
        theirs = measure(name) if find_spec(name) else {}
        if theirs and theirs["check"] != ours["check"]:
            raise RuntimeError(f"{peer} and Weft do not give the same next hops")
        note = "" if theirs else f"{peer} is not installed"
        yield Row("1,000,000 prefixes: load", "s", ours["load"], peer, theirs.get("load"), note)
        yield Row("one look-up", "us", ours["lookup"], peer, theirs.get("lookup"),
                  note or f"Weft asked by number, {peer} by {'text' if name == 'pytricia' else 'bytes'}")  # fmt: skip
        alike = "lookup text" if name == "pytricia" else "lookup packed"
        yield Row("one look-up, Weft asked as the peer is", "us", ours[alike], peer, theirs.get("lookup"), note)
        yield Row("one update (removed or added)", "us", ours["update"] * 5, peer,
                  theirs["update"] * 5 if theirs else None, note)  # fmt: skip
        yield Row("1,000,000 prefixes: memory", "MiB", ours["memory"], peer, theirs.get("memory"), note)


if __name__ == "__main__":
    taken: dict[str, float] = {}
    answer = TABLES[sys.argv[1]](taken)
    hops = [answer(text(number)) for number in questions()[:10_000]]
    taken["check"] = sum((n + 1) * (-1 if hop is None else int(str(hop))) for n, hop in enumerate(hops))
    print(json.dumps(taken))
