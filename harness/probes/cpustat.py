"""What the usable cores did altogether, and how fast they ran."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from harness.probes.procfs import read_bytes

if TYPE_CHECKING:
    from collections.abc import Collection

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
"""The unit of ``/proc/stat``. The kernel samples who runs once in a tick of its own, of 1 to 10 ms."""

_CORE = re.compile(rb"^cpu(\d+) ([\d ]+)$", re.MULTILINE)
_MHZ = re.compile(rb"^cpu MHz\s*:\s*([\d.]+)$", re.MULTILINE)


class CpuTimes(NamedTuple):
    """Time of some cores since boot, in seconds, summed over them.

    Attributes:
        busy_s: Spent by processes: user, nice and system. Interrupts are not in it, hard and soft: what
            arrives over loopback is handled in them, so they work for whoever sends, and no process has them
            on its clock.
        steal_s: Spent by the hypervisor on other machines while a core had something to run.
    """

    busy_s: float
    steal_s: float


def usable_cores() -> frozenset[int]:
    """Return the numbers of the cores that this process, and what it starts, may run on."""
    return frozenset(os.sched_getaffinity(0))


def cpu_times(cores: Collection[int], proc: str = "/proc") -> CpuTimes | None:
    """Return what cores have done, None where the system does not tell it of all of them.

    A sandbox may show a ``stat`` in which nothing has ever happened: that tells nothing either.
    """
    found = {
        int(core): [int(ticks) for ticks in fields.split()]
        for core, fields in _CORE.findall(read_bytes(f"{proc}/stat") or b"")
    }
    told = [found[core] for core in cores if len(found.get(core, [])) >= 8 and any(found[core])]
    if not told or len(told) < len(cores):
        return None
    # user nice system idle iowait irq softirq steal; guests are in user and nice already
    return CpuTimes(sum(sum(ticks[:3]) for ticks in told) * TICK_S, sum(ticks[7] for ticks in told) * TICK_S)


def frequency_hz(cores: Collection[int], proc: str = "/proc", sys: str = "/sys") -> float | None:
    """Return the mean clock of cores now, None where the system does not tell it.

    ``cpufreq`` tells it. ``cpuinfo`` does on bare metal; in a virtual machine it shows one nominal clock for
    all cores, which says nothing of now and is not returned.
    """
    folder = f"{sys}/devices/system/cpu"
    current = [_told(f"{folder}/cpu{core}/cpufreq/scaling_cur_freq") for core in cores]
    told = [int(text) * 1e3 for text in current if text is not None and text.strip().isdigit()]
    if cores and len(told) == len(cores):
        return sum(told) / len(told)
    clocks = [float(text) * 1e6 for text in _MHZ.findall(read_bytes(f"{proc}/cpuinfo") or b"")]
    usable = [clocks[core] for core in cores if core < len(clocks)]
    return sum(usable) / len(usable) if len(set(clocks)) > 1 else None


def _told(path: str) -> bytes | None:
    """Return the content of a file that a driver may refuse to fill in."""
    try:
        return read_bytes(path)
    except OSError:
        return None
