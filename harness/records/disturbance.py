"""Whether a cell was disturbed, from what was counted around it. Pure.

Theory of operation: a cell is void if something outside of it may have changed its numbers by more than
noise does. Four things can. *Other programs* use the cores, and with them caches, memory bandwidth and turbo
clock. *Waiting* for a core shows that they did so at the wrong moment. *Steal* is the same by another
virtual machine. *Throttling* by a CPU quota stops the whole tree for tens of milliseconds at a time.

What is counted has errors, and a quiet machine must never be told to be disturbed. So:

- Processes that can be seen are counted by their own clocks, which are exact but for the tick that runs.
- ``/proc/stat`` also knows those that cannot be seen, but samples: once a tick, whoever runs then has the
  whole tick. The number of busy samples has a standard deviation of at most half the square root of all
  samples, so two of these are allowed before anything is called hidden. Work that a timer starts runs right
  behind the tick and is missed, not overstated: measured with 1 ms timers, 0.03 of 0.04 cores were seen.
- Threads of the kernel and interrupts are nobody's: loopback, page faults and timers make them work for the
  cell itself.
- Threads of the tree wait for each other, too. The share of others in that waiting is taken as their share
  of the CPU time. A hundred threads that wait for one core wait a hundred times as long as the work is late,
  so no more is taken for it than the CPU time of others, divided by the cores that the tree keeps busy.
- A window of milliseconds has no tick to sample, and the clock of a process that runs shows its last tick.
  So what others used within a short window is judged by what they used from the end of the cell before to
  its end. What the tree waited for and was throttled for is exact, and always that of the window.
- Limits are a share of the window and a little time besides: one wake-up of a daemon is a large share of a
  short window.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from harness.records.schema import Disturbance

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHERS_LIMIT = 0.075
"""Share of the usable cores that other programs may use: 0.15 of two. The agents of an idle virtual machine
used 0.005 cores; a program that computes uses a whole one."""
LEAST_LIMIT_CORES = 0.15
"""The same in cores, where there is one core only."""
OTHERS_SLACK_S = 0.002
"""CPU time that others may use in a window of any length: a daemon's wake-up, or half a tick of its clock at
250 Hz."""
WAIT_LIMIT = 0.05
"""Share of the window that the tree may wait for a core because of others: half of the margin of CPU and
p50."""
WAIT_SLACK_S = 0.002
STEAL_LIMIT = 0.02
"""Share of the usable cores' time that may go to other machines. It is measured, not sampled, and adds to
latency as it is."""
THROTTLED_LIMIT = 0.01
"""Share of the window that a quota may hold the tree up: a p99 is decided by 1 %."""
LEAST_JUDGED_S = 0.5
"""Windows below are too short to tell what others used: 100 samples on two cores are off by 0.2 cores."""
NAMED = 3
"""Programs that one cell names."""
LEAST_NAMED_CORES = 0.02
"""Who used less is not named."""
UNNAMED = "programs that cannot be named: short-lived, or outside of this container"


class Counted(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted from one begin of the probes to the next end, or the sum over several.

    Attributes:
        interval_s: Time between the two looks.
        looks: How many intervals are summed.
        cores: Usable cores.
        tick_s: The unit of ``busy_s`` and ``steal_s``.
        busy_s: Time that the usable cores worked for processes; None where the machine does not tell.
        steal_s: Time that they were taken away by the hypervisor, likewise.
        own_s: CPU time of the measured tree and of its measurer.
        kernel_s: CPU time of threads of the kernel.
        others_s: CPU time of other programs on the usable cores, by program.
        wait_s: Time that threads of the tree waited for a core, summed over them; None where it is not told.
        throttled_s: Time that a quota held up the group of the tree, or one above; None where it is not told.
        throttled_by: That group.
        frequency_hz: Mean clock of the usable cores at the end; None where it is not told.
    """

    interval_s: float
    looks: int = 1
    cores: int
    tick_s: float = 0.01
    busy_s: float | None = None
    steal_s: float | None = None
    own_s: float = 0.0
    kernel_s: float = 0.0
    others_s: dict[str, float] = {}
    wait_s: float | None = None
    throttled_s: float | None = None
    throttled_by: str = ""
    frequency_hz: float | None = None


def summed(one: Counted, other: Counted) -> Counted:
    """Return two counts as one, of intervals that do not overlap; ``other`` is the later one."""
    others_s = dict(one.others_s)
    for name, used_s in other.others_s.items():
        others_s[name] = others_s.get(name, 0.0) + used_s
    return msgspec.structs.replace(
        other,
        interval_s=one.interval_s + other.interval_s,
        looks=one.looks + other.looks,
        busy_s=_sum(one.busy_s, other.busy_s),
        steal_s=_sum(one.steal_s, other.steal_s),
        own_s=one.own_s + other.own_s,
        kernel_s=one.kernel_s + other.kernel_s,
        others_s=others_s,
        wait_s=_sum(one.wait_s, other.wait_s),
        throttled_s=_sum(one.throttled_s, other.throttled_s),
        throttled_by=other.throttled_by or one.throttled_by,
    )


def disturbance_of(counted: Counted, around: Counted | None = None) -> Disturbance:
    """Return what others did, and whether and why that makes the cell void.

    Args:
        counted: The measured windows.
        around: From before them to their end, set-up included; judged in place of windows that are too short
            to tell what others used.
    """
    if counted.interval_s <= 0 or counted.cores <= 0:
        return Disturbance(frequency_hz=counted.frequency_hz)
    interval_s, cores = counted.interval_s, counted.cores
    used = around if around is not None and interval_s < LEAST_JUDGED_S <= around.interval_s else counted
    hidden_s = _hidden_s(used)
    others_cores = min((sum(used.others_s.values()) + hidden_s) / used.interval_s, cores)
    wait_s = _wait_s(counted, others_cores, used.own_s / used.interval_s)
    steal_s, throttled_s = counted.steal_s, counted.throttled_s
    found = Disturbance(
        others_cores=others_cores,
        steal_share=None if steal_s is None else steal_s / (cores * interval_s),
        wait_cores=None if wait_s is None else wait_s / interval_s,
        throttled_share=None if throttled_s is None else min(throttled_s / interval_s, 1.0),
        frequency_hz=counted.frequency_hz,
        culprits=list(_culprits(used, hidden_s)),
    )
    slack_cores = OTHERS_SLACK_S * used.looks / used.interval_s
    return msgspec.structs.replace(found, void=list(_void(counted, found, slack_cores)))


def told_at_start(found: Disturbance, cores: int, quota_cores: float | None) -> list[str]:
    """Return what to know before a run begins, a sentence each; empty where the machine is quiet.

    Args:
        found: What others did while nothing was measured.
        cores: Usable cores.
        quota_cores: CPU quota of what will be measured, None for no quota.
    """
    lines = [f"before the run {reason}" for reason in found.void]
    if lines:
        lines[-1] += (
            ". Cells that this disturbs are void and are run again; what cannot be measured undisturbed ends "
            "as contaminated. End what disturbs, or measure later"
        )
    if quota_cores is not None and quota_cores < cores:
        lines.append(
            f"a CPU quota of {quota_cores:g} cores holds for {cores} usable cores. A cell that reaches it "
            "is stopped again and again, and void. Lift the quota (cpu.max of the cgroup, docker run --cpus)"
        )
    return lines


def sampling_error_s(counted: Counted) -> float:
    """Return what ``busy_s`` less what is known of it may be off by: two standard deviations.

    A sample that is 0 or 1 has a variance of at most 1/4, in ticks. Rounding at both ends, and the tick that
    a process is in just now and that its clock does not show yet, are taken as a variance of 1 for each core
    and interval.
    """
    samples = counted.interval_s * counted.cores / counted.tick_s
    return 2 * math.sqrt(samples / 4 + counted.cores * counted.looks) * counted.tick_s


def _hidden_s(counted: Counted) -> float:
    if counted.busy_s is None:
        return 0.0
    known_s = counted.own_s + counted.kernel_s + sum(counted.others_s.values())
    return max(counted.busy_s - known_s - sampling_error_s(counted), 0.0)


def _wait_s(counted: Counted, others_cores: float, own_cores: float) -> float | None:
    if counted.wait_s is None:
        return None
    used_cores = others_cores + own_cores
    share = others_cores / used_cores if used_cores else 0.0
    return min(counted.wait_s * share, others_cores / max(own_cores, 1.0) * counted.interval_s)


def _culprits(counted: Counted, hidden_s: float) -> Iterator[str]:
    used_s = counted.others_s | ({UNNAMED: hidden_s} if hidden_s else {})
    for name, seconds in sorted(used_s.items(), key=lambda item: (-item[1], item[0]))[:NAMED]:
        if seconds >= LEAST_NAMED_CORES * counted.interval_s:
            yield f"{name} {seconds / counted.interval_s:.2f} cores"


def _void(counted: Counted, found: Disturbance, slack_cores: float) -> Iterator[str]:
    interval_s, cores = counted.interval_s, counted.cores
    limit_cores = max(OTHERS_LIMIT * cores, LEAST_LIMIT_CORES)
    others_cores, wait_cores = found.others_cores or 0.0, found.wait_cores or 0.0
    named = f" ({', '.join(found.culprits)})" if found.culprits else ""
    if others_cores > limit_cores + slack_cores:
        usable = f"{cores} cores" if cores != 1 else "1 core"
        yield f"other programs used {others_cores:.2f} of {usable}{named}"
        named = ""
    if wait_cores > WAIT_LIMIT + WAIT_SLACK_S * counted.looks / interval_s:
        waited_ms, window_ms = wait_cores * interval_s * 1e3, interval_s * 1e3
        times = f"{waited_ms:.0f} ms for a core, in {window_ms:.0f} ms"
        yield f"other programs made its threads wait {times}{named}"
    steal = found.steal_share or 0.0
    if steal > STEAL_LIMIT + counted.tick_s * counted.looks / interval_s:
        yield f"the hypervisor gave {_percent(steal)} of the CPU time to other machines (steal)"
    throttled = found.throttled_share or 0.0
    if throttled > THROTTLED_LIMIT:
        yield f"a CPU quota ({counted.throttled_by}) held it up for {_percent(throttled)} of the time"


def _percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")


def _sum(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other
