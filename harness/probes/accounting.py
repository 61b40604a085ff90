"""A control group of its own for one worker, in which the kernel counts the CPU time of all its processes.

What a process used stays in the group's count when it has ended, so nobody who comes and goes between two
looks is lost. The group has no controller with a limit or a share: it counts and changes nothing else.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX: Final = "fedbench-"
REMOVED_WITHIN_S = 2.0
"""How long the kernel is given to notice that a group's last process has ended."""
_numbers = itertools.count()


class _Place(NamedTuple):
    """Where a group can be made.

    Attributes:
        directory: The group that this process is in.
        unified: Whether that is of version 2.
    """

    directory: Path
    unified: bool


class CpuAccount:
    """The CPU time of all that was ever in one control group, and of all that they started.

    Args:
        directory: The group.
        unified: Whether it is of version 2 (``cpu.stat``, in µs), not of version 1 (``cpuacct.usage``, ns).
    """

    def __init__(self, directory: Path, *, unified: bool) -> None:
        self._directory = directory
        self._unified = unified

    @classmethod
    def open(cls) -> Self | None:
        """Make a group below that of this process, None where that is not allowed or there is none.

        Empty groups that measuring processes of the past have left behind are removed.
        """
        for place in _places():
            _sweep(place.directory)
            directory = place.directory / f"{PREFIX}{os.getpid()}-{next(_numbers)}"
            with contextlib.suppress(OSError):
                directory.mkdir()
                account = cls(directory, unified=place.unified)
                with contextlib.suppress(OSError, ValueError):
                    account.used_ns()
                    return account
                account.close()
        return None

    def add(self, pid: int) -> bool:
        """Take a process in; return whether the kernel allowed it. It should have no children yet."""
        try:
            (self._directory / "cgroup.procs").write_text(str(pid))
        except OSError:
            return False
        return True

    def used_ns(self) -> int:
        """Return the CPU time in ns.

        A running process is charged when the kernel looks at it: at its tick, when it is switched, or when
        its own clock is read.

        Raises:
            OSError: The group is gone.
            ValueError: The kernel does not count here.
        """
        if not self._unified:
            return int((self._directory / "cpuacct.usage").read_bytes())
        for line in (self._directory / "cpu.stat").read_bytes().splitlines():
            if line.startswith(b"usage_usec "):
                return int(line.split()[1]) * 1000
        raise ValueError(f"{self._directory} has no CPU time")

    def close(self) -> None:
        """Remove the group, once its processes have ended; idempotent. One with processes stays."""
        end_s = time.monotonic() + REMOVED_WITHIN_S
        while not _removed(self._directory) and time.monotonic() < end_s:
            time.sleep(0.01)


def _places() -> Iterator[_Place]:
    """Yield where groups can be made, the best first.

    A version 1 group whose hierarchy shares out CPU time, too, is none: it would get a share of its own.
    """
    found = []
    groups = _groups()
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        about, _, filesystem = line.partition(" - ")
        root, mounted_on = (part.replace("\\040", " ") for part in about.split()[3:5])
        kind, _, options = filesystem.split(" ", 2)
        controllers = set(options.split(","))
        unified = kind == "cgroup2"
        own = groups.get("" if unified else "cpuacct")
        counts = unified or (kind == "cgroup" and "cpuacct" in controllers and "cpu" not in controllers)
        if own is None or not counts:
            continue
        below = os.path.relpath(own, root)
        if not below.startswith(".."):
            found.append(_Place(Path(mounted_on) / below, unified))
    yield from sorted(found, key=lambda place: not place.unified)


def _groups() -> dict[str, str]:
    """Return the group of this process by controller; that of version 2 has the empty name."""
    groups = {}
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def _sweep(directory: Path) -> None:
    with contextlib.suppress(OSError):
        for left in directory.glob(f"{PREFIX}*-*"):
            owner = left.name.removeprefix(PREFIX).partition("-")[0]
            if owner.isdigit() and not os.path.exists(f"/proc/{owner}"):
                _removed(left)


def _removed(directory: Path) -> bool:
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:  # EBUSY: somebody is still in it
        return False
    return True
