"""What ``fedbench run`` is asked for: a suite with its options, or a broken run to go on with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fedbench.errors import ConfigError, Problem
from harness.probes.cpustat import usable_cores
from harness.probes.disturbance import watch
from harness.records.cgroup import groups_of, narrowest_quota
from harness.records.disturbance import told_at_start
from harness.run.asked import Asked, read_asked
from harness.run.resumption import difference
from harness.stacks.registry import check_settings, stack_names
from harness.suitefile import load_suite
from harness.workloads.registry import catalogue

if TYPE_CHECKING:
    from pathlib import Path

USUAL_SUITE = "quick"


@dataclass(frozen=True, slots=True)
class Invocation:
    """The options that say what is measured, as given: None or empty where they were not.

    Attributes:
        suite: Name of a suite or path of a file.
        quick: 5 blocks.
        rigorous: Twice the suite's blocks, at least 20.
        blocks: Blocks, after which there is one look at everything.
        seed: Seed of the order.
        select: Regular expression that chooses cells.
        assignments: Parameters to change.
        timeout_s: Timeout of every cell in seconds.
    """

    suite: str | None = None
    quick: bool = False
    rigorous: bool = False
    blocks: int | None = None
    seed: int | None = None
    select: str = ""
    assignments: tuple[str, ...] = ()
    timeout_s: float | None = None


def asked_for(invocation: Invocation) -> Asked:
    """Return the suite, selected and overridden, and the seed.

    Raises:
        ConfigError: With everything that is wrong with one of them.
    """
    if invocation.quick and invocation.rigorous:
        raise ConfigError("--quick", [Problem("", "contradicts --rigorous: give one of them")])
    suite = load_suite(
        invocation.suite or USUAL_SUITE, catalogue(), stack_names(), check=check_settings
    ).override(invocation.assignments)
    if invocation.select:
        suite = suite.select(invocation.select)
    if invocation.timeout_s is not None:
        suite = suite.limit(invocation.timeout_s)
    blocks = invocation.blocks or _preset(invocation, suite.blocks)
    if blocks is not None:
        suite = replace(suite, blocks=blocks, looks=(), time_s=None)
    return Asked(suite=suite, seed=invocation.seed or 0)


def _preset(invocation: Invocation, blocks: int) -> int | None:
    if invocation.quick:
        return 5
    return max(20, 2 * blocks) if invocation.rigorous else None


def resumed(folder: Path, invocation: Invocation) -> Asked:
    """Return what a broken run was asked for, with the timeouts of now.

    Where a suite is named, it has to be the one that was run: the command of a run can be given once more,
    with ``--resume`` behind it.

    Raises:
        ConfigError: The folder is no run, or the options ask for something else than what was run.
    """
    if not folder.is_dir():
        raise ConfigError("--resume", [Problem("", f"{folder} is no folder: name the folder of a run")])
    asked = read_asked(folder)
    if invocation.suite is not None:
        _compare(asked, asked_for(invocation))
    elif replace(invocation, timeout_s=None) != Invocation():
        message = "goes on with the suite, seed and cells of the run: leave options that choose others out"
        raise ConfigError("--resume", [Problem("", message)])
    if invocation.timeout_s is None:
        return asked
    return Asked(suite=asked.suite.limit(invocation.timeout_s), seed=asked.seed)


def told_before() -> list[str]:
    """Return what is known of this machine before a run, a warning each; takes half a second."""
    quota = narrowest_quota(groups_of("self", "cpu"))
    return told_at_start(watch(), len(usable_cores()), quota.cores if quota else None)


def _compare(asked: Asked, now: Asked) -> None:
    what = difference(asked.suite, now.suite) or ("seed" if asked.seed != now.seed else "")
    if what:
        message = (
            f"the suite is not what was run: another {what}. "
            "Leave the suite out to go on with what was run, or start a new run"
        )
        raise ConfigError("--resume", [Problem("", message)])
