"""What a lab file says of routing, for all routers (`spec.routing`) and for one.

In: JSON, and the settings that hold where it says nothing. Out: `RoutingSettings`. The same fields stand on Router
objects, from which `read_router` takes them again: that is what the node agent and the daemons' drivers call.
"""

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Literal, TypeVar

from weft.core.errors import InvalidError
from weft.network.routing.authentication import Authentication
from weft.network.topology.fields import Fields, Object
from weft.network.topology.model import Router
from weft.network.topology.settings import (
    ALGORITHMS,
    AREA_TYPES,
    BACKBONE,
    BACKUPS,
    DAEMONS,
    NETWORK_TYPES,
    NO_AUTHENTICATION,
    PROTOCOLS,
    SOURCES,
    SPLIT_HORIZONS,
    AreaSettings,
    BfdSettings,
    NetworkType,
    OspfSettings,
    RangeSettings,
    Redistribution,
    RedistributionSource,
    RipSettings,
    RoutingSettings,
    SpfDelay,
    StaticRoute,
)
from weft.network.topology.units import parse_delay

V = TypeVar("V")
# RFC 2328, C.3: intervals are 16 bits of seconds; below 1 s only the fast hellos, of which the wire says 0.
_SHORTEST, _LONGEST = 0.05, 65535
_OSPF_METRIC, _RIP_METRIC = 0xFFFFFE, 15


def read_router(spec: Object) -> Router:
    """A router from the spec of its Router object; raises InvalidError with the first thing that is wrong."""
    fields = Fields()
    name = fields.name("spec.node", spec.get("node"))
    loopback = fields.text("spec.loopback", spec.get("loopback"), lambda text: IPv4Interface(text).ip, None)
    settings = read_own(fields, "spec", spec, RoutingSettings())
    static = read_static(fields, "spec.static", spec.get("static"))
    if fields.errors:
        raise InvalidError(str(fields.errors[0]))
    return Router(name, loopback, settings, static)


def read_defaults(fields: Fields, path: str, raw: object) -> RoutingSettings:
    """`spec.routing` of a Topology; `backups` and `daemon` count where a router's protocol has them."""
    entry = fields.typed(path, raw, dict, {})
    protocol = fields.choice(f"{path}.protocol", entry.get("protocol"), PROTOCOLS, "spf")
    return replace(_read(fields, path, entry, RoutingSettings()), protocol=protocol)


def read_own(fields: Fields, path: str, raw: Object, base: RoutingSettings) -> RoutingSettings:
    """A router's own fields over those of its lab; of the lab's, only what its protocol has."""
    protocol = fields.choice(f"{path}.routing", raw.get("routing"), PROTOCOLS, base.protocol)
    settings = replace(_read(fields, path, raw, base), protocol=protocol)
    if settings.daemon != "weft" and protocol not in ("ospf", "rip"):
        if raw.get("daemon"):
            why = f"runs ospf and rip, and this router's routing is {protocol}"
            fields.invalid(f"{path}.daemon", settings.daemon, why)
        settings = replace(settings, daemon="weft")
    if settings.backups != "none" and protocol != "spf":
        if raw.get("backups"):
            fields.invalid(f"{path}.backups", settings.backups, f"is for spf, and this router's routing is {protocol}")
        settings = replace(settings, backups="none")
    return settings


def _read(fields: Fields, path: str, raw: Object, base: RoutingSettings) -> RoutingSettings:
    bfd = read_bfd(fields, f"{path}.bfd", raw.get("bfd"), base.bfd)
    return replace(
        base,
        daemon=fields.choice(f"{path}.daemon", raw.get("daemon"), DAEMONS, base.daemon),
        ospf=_ospf(fields, f"{path}.ospf", raw.get("ospf"), base.ospf),
        rip=_rip(fields, f"{path}.rip", raw.get("rip"), base.rip),
        bfd=None if bfd == "off" else bfd,
        backups=fields.choice(f"{path}.backups", raw.get("backups"), BACKUPS, base.backups),
    )


def read_bfd(fields: Fields, path: str, raw: object, base: BfdSettings | None) -> BfdSettings | Literal["off"] | None:
    """`base` where nothing is said; "off" where `enabled: false` is."""
    if raw is None:
        return base
    entry = fields.typed(path, raw, dict, {})
    if not fields.typed(f"{path}.enabled", entry.get("enabled"), bool, True):
        return "off"
    base = base or BfdSettings()
    interval = fields.text(f"{path}.interval", entry.get("interval"), _bfd_interval, base.interval)
    return BfdSettings(interval, fields.integer(f"{path}.multiplier", entry.get("multiplier"), base.multiplier, 1, 255))


def _bfd_interval(text: str) -> float:
    try:
        microseconds = parse_delay(text)
    except ValueError:
        microseconds = 0
    if microseconds < 10_000:
        raise ValueError("must be a time between 10ms and 10s, such as 100ms")
    return microseconds / 1e6


def _ospf(fields: Fields, path: str, raw: object, base: OspfSettings) -> OspfSettings:
    entry = fields.typed(path, raw, dict, {})
    hello = _interval(fields, f"{path}.helloInterval", entry.get("helloInterval"), base.hello_interval)
    if hello > 1 and hello != int(hello):
        fields.invalid(f"{path}.helloInterval", hello, "must be a whole number of seconds, or less than one")
    dead = base.dead_interval if hello == base.hello_interval else min(4 * hello, _LONGEST)
    dead = _interval(fields, f"{path}.deadInterval", entry.get("deadInterval"), dead)
    if dead <= hello:
        fields.invalid(f"{path}.deadInterval", dead, f"must be more than the hello interval, {hello:g}")
    network_type: NetworkType | None = base.network_type
    if entry.get("networkType") is not None:
        network_type = fields.choice(f"{path}.networkType", entry["networkType"], NETWORK_TYPES, "broadcast")
    authentication = _authentication(fields, f"{path}.authentication", entry.get("authentication"))
    if authentication and authentication.algorithm == "simple" and len(authentication.key) > 8:
        fields.invalid(
            f"{path}.authentication.key", len(authentication.key), "OSPF takes a password of at most 8 bytes"
        )
    retransmit = entry.get("retransmitInterval")
    return OspfSettings(
        area=fields.area(f"{path}.area", entry.get("area"), base.area),
        areas=_areas(fields, f"{path}.areas", entry.get("areas"), base.areas),
        hello_interval=hello,
        dead_interval=dead,
        retransmit_interval=_interval(fields, f"{path}.retransmitInterval", retransmit, base.retransmit_interval),
        priority=fields.integer(f"{path}.priority", entry.get("priority"), base.priority, 0, 255),
        network_type=network_type,
        authentication=authentication or base.authentication,
        spf_delay=_spf_delay(fields, f"{path}.spfDelay", entry.get("spfDelay"), base.spf_delay),
        redistribute=_redistribute(
            fields, f"{path}.redistribute", entry.get("redistribute"), base.redistribute, "ospf", _OSPF_METRIC
        ),
    )


def _interval(fields: Fields, path: str, raw: object, default: float) -> float:
    return fields.number(path, raw, default, _SHORTEST, _LONGEST)


def _areas(fields: Fields, path: str, raw: object, base: tuple[AreaSettings, ...]) -> tuple[AreaSettings, ...]:
    """By their identifier; two spellings of one area are one too many."""
    found = {each.area: each for each in base}
    own: set[IPv4Address] = set()
    for key, value in fields.typed(path, raw, dict, {}).items():
        at = f"{path}[{key}]"
        area = fields.area(at, key, None)
        entry = fields.typed(at, value, dict, {})
        kind = fields.choice(f"{at}.type", entry.get("type"), AREA_TYPES, "normal")
        cost = fields.integer(f"{at}.defaultCost", entry.get("defaultCost"), 1, 0, _OSPF_METRIC)
        ranges = _ranges(fields, f"{at}.ranges", entry.get("ranges"))
        if area is None:
            continue
        if area in own:
            fields.duplicate(at, str(area))
        if area == BACKBONE and kind != "normal":
            fields.invalid(f"{at}.type", kind, "the backbone cannot be a stub area")
        own.add(area)
        found[area] = AreaSettings(area, kind, cost, ranges)
    return tuple(found[area] for area in sorted(found))


def _ranges(fields: Fields, path: str, raw: object) -> tuple[RangeSettings, ...]:
    found: dict[IPv4Network, RangeSettings] = {}
    for at, entry in fields.objects(path, raw):
        if not entry.get("prefix"):
            fields.required(f"{at}.prefix", "such as 10.1.0.0/16")
            continue
        prefix = fields.text(f"{at}.prefix", entry["prefix"], _prefix, None)
        advertise = fields.typed(f"{at}.advertise", entry.get("advertise"), bool, True)
        cost = None
        if entry.get("cost") is not None:
            cost = fields.integer(f"{at}.cost", entry["cost"], 0, 0, _OSPF_METRIC)
        if prefix is None:
            continue
        if prefix in found:
            fields.duplicate(f"{at}.prefix", str(prefix))
        found[prefix] = RangeSettings(prefix, advertise, cost)
    return tuple(found.values())


def _spf_delay(fields: Fields, path: str, raw: object, base: SpfDelay) -> SpfDelay:
    """Milliseconds, as routers' own configurations have them."""
    entry = fields.typed(path, raw, dict, {})
    initial, hold, maximum = (
        fields.number(f"{path}.{key}", entry.get(key), round(default * 1000, 3), 0, 600_000)
        for key, default in (("initial", base.initial), ("hold", base.hold), ("maximum", base.maximum))
    )
    if max(initial, hold) > maximum:
        fields.invalid(f"{path}.maximum", maximum, "must be at least initial and hold")
    return SpfDelay(*(round(milliseconds / 1000, 6) for milliseconds in (initial, hold, maximum)))


def _rip(fields: Fields, path: str, raw: object, base: RipSettings) -> RipSettings:
    entry = fields.typed(path, raw, dict, {})
    update = _interval(fields, f"{path}.updateInterval", entry.get("updateInterval"), base.update_interval)
    timeout = _interval(fields, f"{path}.timeoutInterval", entry.get("timeoutInterval"), base.timeout_interval)
    if timeout <= update:
        fields.invalid(f"{path}.timeoutInterval", timeout, f"must be more than the update interval, {update:g}")
    authentication = _authentication(fields, f"{path}.authentication", entry.get("authentication"))
    return RipSettings(
        update_interval=update,
        timeout_interval=timeout,
        garbage_interval=_interval(
            fields, f"{path}.garbageInterval", entry.get("garbageInterval"), base.garbage_interval
        ),
        split_horizon=fields.choice(
            f"{path}.splitHorizon", entry.get("splitHorizon"), SPLIT_HORIZONS, base.split_horizon
        ),
        authentication=authentication or base.authentication,
        redistribute=_redistribute(
            fields, f"{path}.redistribute", entry.get("redistribute"), base.redistribute, "rip", _RIP_METRIC
        ),
    )


def _authentication(fields: Fields, path: str, raw: object) -> Authentication | None:
    """None where nothing is said. Messages never repeat the key."""
    if raw is None:
        return None
    entry = fields.typed(path, raw, dict, {})
    algorithm = fields.choice(f"{path}.type", entry.get("type"), ALGORITHMS, "none")
    key = fields.typed(f"{path}.key", entry.get("key"), str, "").encode()
    key_id = fields.integer(f"{path}.keyID", entry.get("keyID"), 1, 0, 255)
    if algorithm == "none":
        return NO_AUTHENTICATION
    if not key:
        fields.required(f"{path}.key", f"the key of {algorithm}")
        return None
    if algorithm in ("simple", "md5") and len(key) > 16:
        fields.invalid(f"{path}.key", len(key), f"{algorithm} takes at most 16 bytes")
        return None
    return Authentication(algorithm, key, key_id)


def _redistribute(
    fields: Fields, path: str, raw: object, base: tuple[Redistribution, ...], own: str, highest: int
) -> tuple[Redistribution, ...]:
    if raw is None:
        return base
    found: dict[str | None, Redistribution] = {}
    for at, entry in fields.objects(path, raw):
        if entry.get("source") is None and not entry.get("policy"):
            fields.required(f"{at}.source", "where the routes come from, or a policy for all sources")
            continue
        before = len(fields.errors)
        source: RedistributionSource | None = None
        if entry.get("source") is not None:
            source = fields.choice(f"{at}.source", entry["source"], SOURCES, "static")
        metric = fields.integer(f"{at}.metric", entry.get("metric"), -1, 0, highest) if "metric" in entry else None
        metric_type: Literal[1, 2] = 2
        if fields.integer(f"{at}.metricType", entry.get("metricType"), 2, 1, 2) == 1:
            metric_type = 1
        policy = fields.name(f"{at}.policy", entry["policy"]) if entry.get("policy") else None
        if len(fields.errors) > before:
            continue
        if source == own:
            fields.invalid(f"{at}.source", source, "a protocol cannot redistribute its own routes")
        elif source in found:
            fields.duplicate(f"{at}.source", source or "")
        found[source] = Redistribution(source, metric, metric_type, policy)
    return tuple(found.values())


def read_static(fields: Fields, path: str, raw: object) -> tuple[StaticRoute, ...]:
    """Each has `via` or `blackhole: true`."""
    found: list[StaticRoute] = []
    for at, entry in fields.objects(path, raw):
        before = len(fields.errors)
        if not entry.get("destination"):
            fields.required(f"{at}.destination", "a prefix such as 192.0.2.0/24")
            continue
        destination = fields.text(f"{at}.destination", entry["destination"], _prefix, None)
        via = fields.text(f"{at}.via", entry.get("via"), _gateway, None)
        blackhole = fields.typed(f"{at}.blackhole", entry.get("blackhole"), bool, False)
        if len(fields.errors) > before or destination is None:
            continue
        if (via is None) is not blackhole:
            fields.invalid(at, str(destination), "must have either via, an IPv4 address, or blackhole: true")
            continue
        found.append(StaticRoute(destination, via))
    return tuple(found)


def _parsed(make: Callable[[str], V], message: str) -> Callable[[str], V | None]:
    def parse(text: str) -> V | None:
        try:
            return make(text)
        except ValueError:
            raise ValueError(message) from None

    return parse


_prefix = _parsed(IPv4Network, "must be an IPv4 prefix such as 192.0.2.0/24")
_gateway = _parsed(IPv4Address, "must be an IPv4 address such as 192.0.2.1")
