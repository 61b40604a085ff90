"""CPU limits of the control groups that a process is in, of both versions of cgroups.

Theory of operation: a quota may be set on any group between a process and the root, and the narrowest of
them counts, so every level is read. ``/proc/<pid>/cgroup`` names the group within each hierarchy,
``/proc/<pid>/mountinfo`` tells where a hierarchy is mounted, and which of its groups the mount begins with:
in a container that is often the container's own group, and the levels above cannot be seen. Version 1 and
version 2 may be mounted side by side, with the CPU controller in either. Their files differ:
``cpu.cfs_quota_us`` and ``cpu.cfs_period_us`` against ``cpu.max``, ``throttled_time`` in ns against
``throttled_usec``.

Source: Documentation/admin-guide/cgroup-v2.rst, Documentation/scheduler/sched-bwc.rst and proc(5) of Linux.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

_ESCAPED = re.compile(r"\\([0-7]{3})")
_THROTTLED = re.compile(r"^throttled_(usec|time) (\d+)$", re.MULTILINE)
_UNIT_S = {"usec": 1e-6, "time": 1e-9}
_NO_LIMIT_BYTES = 1 << 60
"""Version 1 writes no limit of memory as the largest multiple of a page that fits."""


class Mount(NamedTuple):
    """A hierarchy of control groups as it is mounted.

    Attributes:
        kind: ``cgroup`` (version 1) or ``cgroup2``.
        controllers: What version 1 controls there; empty for version 2.
        root: The group that the mount point shows.
        point: Where it is mounted.
    """

    kind: str
    controllers: frozenset[str]
    root: str
    point: str


class Quota(NamedTuple):
    """A limit on CPU time.

    Attributes:
        cores: CPU time for each second, in cores.
        text: The same as ``cpu.max`` has it: microseconds of each period of microseconds.
        group: Folder of the group that has it.
    """

    cores: float
    text: str
    group: Path


def mounts(mountinfo: str) -> list[Mount]:
    """Return the hierarchies in the text of a ``mountinfo``."""
    found = []
    for line in mountinfo.splitlines():
        left, _, right = line.partition(" - ")
        before, after = left.split(), right.split()
        if len(before) >= 5 and len(after) >= 3 and after[0] in ("cgroup", "cgroup2"):
            options = frozenset(after[2].split(",")) if after[0] == "cgroup" else frozenset()
            found.append(Mount(after[0], options, _plain(before[3]), _plain(before[4])))
    return found


def groups(cgroup: str, mountinfo: str, controller: str) -> list[Path]:
    """Return the folders of a process's groups, from its own up to the highest that can be seen.

    Args:
        cgroup: Text of ``/proc/<pid>/cgroup``.
        mountinfo: Text of ``/proc/<pid>/mountinfo``.
        controller: Controller of version 1, such as ``cpu``; hierarchies of version 2 are looked at in any
            case.
    """
    mounted = mounts(mountinfo)
    found: list[Path] = []
    for line in cgroup.splitlines():
        number, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if number == "0" and not names:
            mount = next((m for m in mounted if m.kind == "cgroup2"), None)
        elif controller in names.split(","):
            mount = next((m for m in mounted if controller in m.controllers), None)
        else:
            continue
        if mount is not None:
            found += _levels(mount, path)
    return found


def groups_of(pid: int | str, controller: str, proc: str = "/proc") -> list[Path]:
    """Return the groups of a living process, see :func:`groups`; empty where none can be seen."""
    cgroup, mountinfo = _read(Path(proc, str(pid), "cgroup")), _read(Path(proc, str(pid), "mountinfo"))
    return groups(cgroup or "", mountinfo or "", controller)


def narrowest_quota(folders: list[Path]) -> Quota | None:
    """Return the narrowest limit on CPU time that any group has, None where none has one."""
    found = [quota for folder in folders if (quota := _quota(folder)) is not None]
    return min(found, key=lambda quota: quota.cores, default=None)


def memory_limit_bytes(folders: list[Path]) -> int | None:
    """Return the narrowest limit on memory that any group has, None where none has one."""
    found = [_number(folder, name) for folder in folders for name in ("memory.max", "memory.limit_in_bytes")]
    return min((limit for limit in found if limit is not None and limit < _NO_LIMIT_BYTES), default=None)


def throttled_s(folder: Path) -> float | None:
    """Return for how long a group has been held up by its quota, summed over cores, since it was made.

    A group without a quota says nothing of it, or 0; both is 0.

    Returns:
        Seconds, None where the group cannot be read.
    """
    text = _read(folder / "cpu.stat")
    if text is None:
        return None
    match = _THROTTLED.search(text)
    return int(match[2]) * _UNIT_S[match[1]] if match else 0.0


def _levels(mount: Mount, path: str) -> list[Path]:
    point, shown = Path(mount.point), mount.root.rstrip("/")
    inner = ""
    if path == shown or path.startswith(f"{shown}/"):
        inner = path[len(shown) :].strip("/")
    if ".." in inner.split("/"):  # outside of what the mount shows, as from within another cgroup namespace
        inner = ""
    folder = point / inner
    return [folder, *(parent for parent in folder.parents if parent.is_relative_to(point))]


def _quota(folder: Path) -> Quota | None:
    text = _read(folder / "cpu.max")
    if text is None:
        quota, period = (_number(folder, f"cpu.cfs_{what}_us") for what in ("quota", "period"))
        text = f"{quota} {period}"
    match = re.fullmatch(r"(\d+) (\d+)", text)
    return Quota(int(match[1]) / int(match[2]), text, folder) if match and int(match[2]) else None


def _number(folder: Path, name: str) -> int | None:
    text = _read(folder / name)
    return int(text) if text is not None and re.fullmatch(r"-?\d+", text) else None


def _plain(field: str) -> str:
    r"""Return a field of ``mountinfo`` without its escapes, such as ``\040`` for a space."""
    return _ESCAPED.sub(lambda match: chr(int(match[1], 8)), field)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None
