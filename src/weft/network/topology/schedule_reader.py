"""What a lab file says will happen: `spec.schedule`.

In: JSON and the topology without it. Out: `ScheduledEvent`s by time. Who is next: the simulation, and
`weft lab simulate`.
"""

from weft.network.topology.fields import Fields, Object
from weft.network.topology.model import ACTIONS, ScheduledEvent, Topology
from weft.network.topology.units import parse_loss, parse_time

MAX_EVENTS = 10_000
# What each action is about, beside `at`: links, nodes or groups; then what else it needs.
_LINK_ACTIONS = frozenset({"cut", "restore", "flap", "loss", "reorder"})
_FIELDS: dict[str, frozenset[str]] = {
    "cut": frozenset({"link", "links", "sharedRiskGroup"}),
    "restore": frozenset({"link", "links", "sharedRiskGroup"}),
    "flap": frozenset({"link", "links", "sharedRiskGroup", "period", "count"}),
    "loss": frozenset({"link", "links", "sharedRiskGroup", "share"}),
    "reorder": frozenset({"link", "links", "sharedRiskGroup", "share"}),
    "partition": frozenset({"groups"}),
    "heal": frozenset(),
    "kill": frozenset({"node", "nodes"}),
    "start": frozenset({"node", "nodes"}),
}


def read_schedule(fields: Fields, path: str, raw: object, topology: Topology) -> tuple[ScheduledEvent, ...]:
    reader = _Schedule(fields, topology)
    entries = fields.objects(path, raw)
    if len(entries) > MAX_EVENTS:
        fields.invalid(path, len(entries), f"must be at most {MAX_EVENTS} events")
        return ()
    events = [reader.event(at, entry) for at, entry in entries]
    return tuple(sorted((event for event in events if event is not None), key=lambda event: event.at))


class _Schedule:
    def __init__(self, fields: Fields, topology: Topology) -> None:
        self.fields = fields
        self.links = {link.name for link in topology.links}
        self.nodes = set(topology.node_names)
        self.risks: dict[str, list[str]] = {}
        for link in topology.links:
            for group in link.shared_risk_groups:
                self.risks.setdefault(group, []).append(link.name)

    def event(self, path: str, raw: Object) -> ScheduledEvent | None:
        fields = self.fields
        before = len(fields.errors)
        for key in ("at", "action"):
            if not raw.get(key):
                fields.required(f"{path}.{key}", "when, such as 10s" if key == "at" else "what happens")
        at = fields.text(f"{path}.at", raw.get("at"), parse_time, 0.0)
        action = fields.choice(f"{path}.action", raw.get("action"), ACTIONS, "heal")
        if len(fields.errors) > before:
            return None
        for key in sorted(set(raw) - _FIELDS[action] - {"at", "action"}):
            if raw[key] is not None:
                fields.invalid(f"{path}.{key}", key, f"{action} does not have this field")
        links: tuple[str, ...] = ()
        nodes: tuple[str, ...] = ()
        groups: tuple[tuple[str, ...], ...] = ()
        if action in _LINK_ACTIONS:
            links = self._links(path, raw)
        elif action in ("kill", "start"):
            nodes = self._names(path, raw, "node", "nodes", self.nodes, "no such router, switch or host")
        elif action == "partition":
            groups = self._groups(f"{path}.groups", raw.get("groups"))
        period = fields.text(f"{path}.period", raw.get("period"), parse_time, 0.0)
        count = fields.integer(f"{path}.count", raw.get("count"), 1, 1, MAX_EVENTS)
        share = fields.text(f"{path}.share", raw.get("share"), parse_loss, 0.0)
        if action == "flap" and not period:
            fields.required(f"{path}.period", "the time from one cut to the next, such as 2s")
        if action in ("loss", "reorder") and not raw.get("share"):
            fields.required(f"{path}.share", "the share of packets, such as 10%; 0% ends it")
        if len(fields.errors) > before:
            return None
        return ScheduledEvent(at, action, links, nodes, groups, period, count if action == "flap" else 0, share)

    def _links(self, path: str, raw: Object) -> tuple[str, ...]:
        group = self.fields.typed(f"{path}.sharedRiskGroup", raw.get("sharedRiskGroup"), str, "")
        if not group:
            return self._names(path, raw, "link", "links", self.links, "no such link")
        if raw.get("link") or raw.get("links"):
            self.fields.invalid(f"{path}.sharedRiskGroup", group, "must not stand beside link or links")
        if group not in self.risks:
            self.fields.invalid(f"{path}.sharedRiskGroup", group, "no link is in this group")
        return tuple(self.risks.get(group, ()))

    def _names(self, path: str, raw: Object, one: str, many: str, known: set[str], unknown: str) -> tuple[str, ...]:
        """Either one name or a list of them."""
        if raw.get(one) and raw.get(many):
            self.fields.invalid(f"{path}.{many}", many, f"must not stand beside {one}")
        name = self.fields.typed(f"{path}.{one}", raw.get(one), str, "")
        pairs = [(f"{path}.{one}", name)] if name else []
        for index, each in enumerate(self.fields.typed(f"{path}.{many}", raw.get(many), list, [])):
            pairs.append((f"{path}.{many}[{index}]", each))
        if not raw.get(one) and not raw.get(many):
            self.fields.required(f"{path}.{one}", "which")
        for at, each in pairs:
            if not isinstance(each, str) or each not in known:
                self.fields.invalid(at, each, unknown)
        return tuple(dict.fromkeys(str(each) for _, each in pairs))

    def _groups(self, path: str, raw: object) -> tuple[tuple[str, ...], ...]:
        """At least two, without a node in common."""
        groups: list[tuple[str, ...]] = []
        taken: set[str] = set()
        for index, names in enumerate(self.fields.typed(path, raw, list, [])):
            group = []
            for position, name in enumerate(self.fields.typed(f"{path}[{index}]", names, list, [])):
                at = f"{path}[{index}][{position}]"
                if not isinstance(name, str) or name not in self.nodes:
                    self.fields.invalid(at, name, "no such router, switch or host")
                elif name in taken:
                    self.fields.duplicate(at, name)
                else:
                    taken.add(name)
                    group.append(name)
            groups.append(tuple(group))
        if len(groups) < 2 or not all(groups):
            self.fields.required(path, "at least two groups of nodes")
        return tuple(groups)
