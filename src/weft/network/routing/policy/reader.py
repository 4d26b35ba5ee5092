"""From a `RoutingPolicy` object, as JSON, to a `Policy`; with everything that is wrong with it.

In: any JSON value, also one that no schema has checked. Out: a `Policy`, or `FieldError`s by path. The API server
calls `validate_policy` and answers 422.
"""

from ipaddress import ip_network
from typing import Literal

from weft.api.validation import FieldError
from weft.core.errors import InvalidError
from weft.network.routing.policy.policy import Match, Policy, Settings, Statement
from weft.network.routing.policy.prefix_list import Action, PrefixList, PrefixRule
from weft.network.routing.rib.routes import MAX_NUMBER, MAX_PREFERENCE, SOURCES, Source
from weft.network.routing.rib.table import Prefix
from weft.network.topology.fields import Fields, Object

_ACTIONS: tuple[Action, ...] = ("permit", "deny")
_NOWHERE = ip_network("0.0.0.0/0")


def validate_policy(obj: object) -> list[FieldError]:
    """Everything that is wrong with a RoutingPolicy."""
    reader = _Reader()
    reader.read(obj)
    return reader.errors


def read_policy(obj: object) -> Policy:
    """Raises InvalidError with the first thing that is wrong, by its path."""
    reader = _Reader()
    policy = reader.read(obj)
    if reader.errors:
        raise InvalidError(str(reader.errors[0]))
    return policy


class _Reader(Fields):
    def read(self, obj: object) -> Policy:
        self.lists: dict[str, PrefixList] = {}
        whole = self._object("", obj, ("apiVersion", "kind", "metadata", "spec", "status"))
        metadata = self.typed("metadata", whole.get("metadata"), dict, {})
        name = self.name("metadata.name", metadata.get("name"))
        spec = self._object("spec", whole.get("spec"), ("prefixLists", "statements", "default"))
        for path, entry in self.objects("spec.prefixLists", spec.get("prefixLists")):
            self._prefix_list(path, entry)
        statements = tuple(
            self._statement(path, entry) for path, entry in self.objects("spec.statements", spec.get("statements"))
        )
        return Policy(name, statements, self.choice("spec.default", spec.get("default"), _ACTIONS, "deny"))

    def _prefix_list(self, path: str, raw: Object) -> None:
        self._known(path, raw, ("name", "rules"))
        name = self.name(f"{path}.name", raw.get("name"))
        rules = [self._rule(at, entry) for at, entry in self.objects(f"{path}.rules", raw.get("rules"))]
        if name in self.lists:
            self.duplicate(f"{path}.name", name)
        elif name:
            self.lists[name] = PrefixList(tuple(rule for rule in rules if rule))

    def _rule(self, path: str, raw: Object) -> PrefixRule | None:
        self._known(path, raw, ("prefix", "ge", "le", "action"))
        before = len(self.errors)
        if not raw.get("prefix"):
            self.required(f"{path}.prefix", "such as 10.0.0.0/8")
        prefix = self.text(f"{path}.prefix", raw.get("prefix"), _network, _NOWHERE)
        ge = self._optional(f"{path}.ge", raw.get("ge"), prefix.max_prefixlen)
        le = self._optional(f"{path}.le", raw.get("le"), prefix.max_prefixlen)
        action: Action = self.choice(f"{path}.action", raw.get("action"), _ACTIONS, "permit")
        if len(self.errors) > before:
            return None
        try:
            return PrefixRule(prefix, ge, le, action)
        except InvalidError as error:
            self.invalid(path if ge is not None and le is not None else f"{path}.{'le' if ge is None else 'ge'}",
                         le if ge is None else ge, str(error))  # fmt: skip
            return None

    def _statement(self, path: str, raw: Object) -> Statement:
        self._known(path, raw, ("action", "match", "set"))
        if raw.get("action") is None:
            self.required(f"{path}.action", "permit or deny")
        action: Action = self.choice(f"{path}.action", raw.get("action"), _ACTIONS, "permit")
        settings = self._settings(f"{path}.set", raw.get("set"))
        if action == "deny" and settings != Settings():
            self.invalid(f"{path}.set", "deny", "what is denied cannot be changed")
        return Statement(action, self._match(f"{path}.match", raw.get("match")), settings)

    def _match(self, path: str, raw: object) -> Match:
        entry = self._object(path, raw, ("sources", "prefixList", "metric", "tags"))
        sources: list[Source] = []
        for index, each in enumerate(self.typed(f"{path}.sources", entry.get("sources"), list, [])):
            if each is None:
                self.required(f"{path}.sources[{index}]")
            sources.append(self.choice(f"{path}.sources[{index}]", each, SOURCES, SOURCES[0]))
        name = self.typed(f"{path}.prefixList", entry.get("prefixList"), str, "")
        if name and name not in self.lists:
            self.invalid(f"{path}.prefixList", name, "no such list in spec.prefixLists")
        metric = self._object(f"{path}.metric", entry.get("metric"), ("min", "max"))
        low = self.integer(f"{path}.metric.min", metric.get("min"), 0, 0, MAX_NUMBER)
        high = self.integer(f"{path}.metric.max", metric.get("max"), MAX_NUMBER, 0, MAX_NUMBER)
        if low > high:
            self.invalid(f"{path}.metric.max", high, "must not be less than min")
            high = low
        tags = []
        for index, each in enumerate(self.typed(f"{path}.tags", entry.get("tags"), list, [])):
            if each is None:
                self.required(f"{path}.tags[{index}]")
            tags.append(self.integer(f"{path}.tags[{index}]", each, 0, 0, MAX_NUMBER))
        return Match(tuple(sources), self.lists.get(name), (low, high), tuple(tags))

    def _settings(self, path: str, raw: object) -> Settings:
        entry = self._object(path, raw, ("metric", "metricType", "tag", "preference"))
        metric_type: Literal[1, 2] | None = None
        if entry.get("metricType") is not None:
            metric_type = 1 if self.integer(f"{path}.metricType", entry["metricType"], 2, 1, 2) == 1 else 2
        return Settings(
            self._optional(f"{path}.metric", entry.get("metric"), MAX_NUMBER),
            metric_type,
            self._optional(f"{path}.tag", entry.get("tag"), MAX_NUMBER),
            self._optional(f"{path}.preference", entry.get("preference"), MAX_PREFERENCE),
        )

    def _optional(self, path: str, value: object, most: int) -> int | None:
        return None if value is None else self.integer(path, value, 0, 0, most)

    def _object(self, path: str, raw: object, known: tuple[str, ...]) -> Object:
        entry = self.typed(path or "object", raw, dict, {})
        self._known(path, entry, known)
        return entry

    def _known(self, path: str, entry: Object, known: tuple[str, ...]) -> None:
        for field in entry:
            if field not in known:
                self.invalid(f"{path}.{field}".lstrip("."), field, f"unknown field; there are {', '.join(known)}")


def _network(text: str) -> Prefix:
    if "/" not in text:
        raise ValueError("must be a prefix such as 10.0.0.0/8")
    return ip_network(text)
