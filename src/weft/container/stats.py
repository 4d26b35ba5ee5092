"""A container's figures, from its cgroup and its network namespace, in the shape of Docker's stats (one reading)."""

import os
import time
from datetime import UTC, datetime
from typing import Any

from weft.container.runtime import cgroups


def read(cgroup: str, pid: int) -> dict[str, Any]:
    """Zeros for what this machine does not account."""
    unified = cgroups.is_unified()
    return {
        "read": datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "cpu_stats": _cpu_unified(cgroup) if unified else _cpu(cgroup),
        "memory_stats": _memory_unified(cgroup) if unified else _memory(cgroup),
        "pids_stats": {"current": _number("pids", cgroup, "pids.current")},
        "blkio_stats": {"io_service_bytes_recursive": _io(cgroup, unified)},
        "networks": _networks(pid),
        "num_procs": 0,
        "storage_stats": {},
    }


def pids(cgroup: str) -> list[int]:
    """All processes of the container."""
    controller = "pids" if not cgroups.is_unified() else ""
    top = cgroups.directory(controller, cgroup)
    found: list[int] = []
    if top is not None:
        for directory, _, _ in os.walk(top):
            try:
                with open(f"{directory}/cgroup.procs") as file:
                    found += [int(line) for line in file]
            except OSError:
                continue
    return found


def _number(controller: str, cgroup: str, file: str) -> int:
    text = (cgroups.read(controller, cgroup, file) or "").strip()
    return int(text) if text.isdecimal() else 0


def _table(controller: str, cgroup: str, file: str) -> dict[str, int]:
    rows = [line.split() for line in (cgroups.read(controller, cgroup, file) or "").splitlines()]
    return {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[1].isdecimal()}


def _cpu_shape(total: int, user: int, system: int, throttled: dict[str, int]) -> dict[str, Any]:
    return {
        "cpu_usage": {"total_usage": total, "usage_in_usermode": user, "usage_in_kernelmode": system},
        "system_cpu_usage": _system_cpu(),
        "online_cpus": os.cpu_count() or 1,
        "throttling_data": {
            "periods": throttled.get("nr_periods", 0),
            "throttled_periods": throttled.get("nr_throttled", 0),
            "throttled_time": throttled.get("throttled_time", throttled.get("throttled_usec", 0) * 1000),
        },
    }


def _cpu_unified(cgroup: str) -> dict[str, Any]:
    table = _table("cpu", cgroup, "cpu.stat")
    total, user, system = (table.get(f"{name}_usec", 0) * 1000 for name in ("usage", "user", "system"))
    return _cpu_shape(total, user, system, table)


def _cpu(cgroup: str) -> dict[str, Any]:
    total, user, system = (
        _number("cpuacct", cgroup, f"cpuacct.usage{suffix}") for suffix in ("", "_user", "_sys")
    )  # nanoseconds
    return _cpu_shape(total, user, system, _table("cpu", cgroup, "cpu.stat"))


def _system_cpu() -> int:
    """Nanoseconds of all CPUs since boot, idle time included (proc(5), /proc/stat)."""
    with open("/proc/stat") as file:
        ticks = sum(int(field) for field in file.readline().split()[1:9])
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def _memory_unified(cgroup: str) -> dict[str, Any]:
    usage, limit = _number("memory", cgroup, "memory.current"), _number("memory", cgroup, "memory.max")
    return {"usage": usage, "limit": limit or _total_memory(), "stats": _table("memory", cgroup, "memory.stat")}


def _memory(cgroup: str) -> dict[str, Any]:
    usage = _number("memory", cgroup, "memory.usage_in_bytes")
    limit = _number("memory", cgroup, "memory.limit_in_bytes")
    total = _total_memory()
    return {
        "usage": usage,
        "max_usage": _number("memory", cgroup, "memory.max_usage_in_bytes"),
        "limit": min(limit, total) if limit else total,
        "stats": _table("memory", cgroup, "memory.stat"),
    }


def _total_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _io(cgroup: str, unified: bool) -> list[dict[str, Any]]:
    found = []
    if unified:
        for line in (cgroups.read("io", cgroup, "io.stat") or "").splitlines():
            device, *pairs = line.split()
            major, _, minor = device.partition(":")
            values = dict(pair.split("=") for pair in pairs if "=" in pair)
            for name, key in (("read", "rbytes"), ("write", "wbytes")):
                found.append({"major": int(major), "minor": int(minor), "op": name, "value": int(values.get(key, 0))})
        return found
    for line in (cgroups.read("blkio", cgroup, "blkio.throttle.io_service_bytes_recursive") or "").splitlines():
        row = line.split()
        if len(row) == 3 and row[1] in ("Read", "Write"):
            major, _, minor = row[0].partition(":")
            found.append({"major": int(major), "minor": int(minor), "op": row[1].lower(), "value": int(row[2])})
    return found


def _networks(pid: int) -> dict[str, dict[str, int]]:
    """Interfaces of the container's network namespace but loopback (proc(5), net/dev)."""
    try:
        with open(f"/proc/{pid}/net/dev") as file:
            lines = file.readlines()[2:]
    except OSError:
        return {}
    found = {}
    for line in lines:
        name, _, rest = line.partition(":")
        row = [int(field) for field in rest.split()]
        if name.strip() != "lo":
            found[name.strip()] = {
                "rx_bytes": row[0], "rx_packets": row[1], "rx_errors": row[2], "rx_dropped": row[3],
                "tx_bytes": row[8], "tx_packets": row[9], "tx_errors": row[10], "tx_dropped": row[11],
            }  # fmt: skip
    return found
