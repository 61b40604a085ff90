"""The command ``aa``: how often comparisons err on this machine; and what is known of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fedbench.errors import ConfigError, Problem
from harness.acceptance.outcome import ExitCode
from harness.records.environment import fingerprint, machine_class
from harness.regression import aa
from harness.regression.margins import overridden
from harness.regression.runs import read_run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console

    from harness.records.schema import Rates

FRESH_DAYS = 30
"""Base runs that are older are collected anew."""
CALIBRATED = "check"
"""Suite of the base runs, and of what is compared by what they tell."""
MOST_ALARMS, LEAST_FOUND = 0.01, 0.9
"""Shares of the comparisons from which a calibration fails."""


def rates_here() -> Rates | None:
    """Return how often comparisons err on this machine; None if that is not known, or cannot be read."""
    try:
        here = aa.known(machine_class(fingerprint()))
    except ConfigError:
        return None  # a report does without; whoever compares is told
    return None if here is None else here.rates_of("paired")


def calibrate_here(
    collect: Callable[[], Path],
    comparisons: int,
    out: Console,
    *,
    fresh: bool = False,
    run: Path | None = None,
) -> int:
    """Tell how often comparisons err on this class of machines.

    Args:
        collect: Makes base runs and returns their folder.
        comparisons: Comparisons to draw of each kind.
        out: Where to say it.
        fresh: Whether to collect base runs although there are some.
        run: Take these base runs instead.

    Returns:
        The exit code: 1 where more than 1 % of the comparisons alarm, or fewer than 90 % detect +100 %.
    """
    machine = machine_class(fingerprint())
    kept = None if fresh or run is not None else aa.known(machine)
    if kept is not None and not stale(kept.base):
        base = kept.base
        out.print(f"drawing from the base runs of {base.measured_utc} ({base.commit[:7]})", highlight=False)
    else:
        base = aa.base_runs(read_run(run or collect(), whole=False))
        wrong = _wrong_base(base, machine)
        if wrong:
            raise ConfigError("base runs", [Problem("", f"{wrong}: collect them here")])
    found = aa.calibrate(base, overridden(()), comparisons, seed=0)
    out.print(f"kept in {aa.keep(found)}", highlight=False, soft_wrap=True)
    return _say_rates(found, out)


def _wrong_base(base: aa.BaseRuns, machine: str) -> str:
    if base.machine != machine:
        return f"were measured on {base.machine}, this is {machine}"
    return "" if base.suite == CALIBRATED else f"are of the suite {base.suite}, not of {CALIBRATED}"


def _say_rates(found: aa.Calibration, out: Console) -> int:
    worst = ExitCode.OK
    out.print(
        f"{found.base.machine}: {found.blocks} blocks a batch side by side", highlight=False, soft_wrap=True
    )
    for rates in found.rates:
        out.print(
            f"{rates.procedure}: {rates.alarms} of {rates.comparisons} A/A comparisons alarmed "
            f"(at most {rates.alarms_upper:.1%} at 95 %); of {rates.injected} slow-downs of the detectable "
            f"size {rates.detected} were confirmed (at least {rates.detected_lower:.1%}), of as many of "
            f"twice the usual margin {rates.detected_usual}, of +100 % {rates.detected_doubled}; two "
            f"comparisons of the same versions agreed in every change in {rates.agreed} of {rates.pairs} "
            f"pairs (kappa {'-' if rates.kappa is None else f'{rates.kappa:.2f}'})",
            highlight=False,
            soft_wrap=True,
        )
        for name, count in found.alarming[rates.procedure].items():
            out.print(f"  {name}: {count} alarms", highlight=False, soft_wrap=True)
        if rates.alarms > MOST_ALARMS * rates.comparisons or _found(rates) < LEAST_FOUND * rates.injected:
            worst = ExitCode.FAILED
    return int(worst)


def _found(rates: Rates) -> int:
    """Return how many changes were found that should have been: those of +100 % side by side.

    Runs made apart are allowed to differ by more than that in their 99th percentiles: what is detectable of
    them has to be found.
    """
    return rates.detected_doubled or 0 if rates.procedure == "paired" else rates.detected


def stale(base: aa.BaseRuns) -> bool:
    """Return whether base runs are too old to go by."""
    try:
        measured = datetime.strptime(base.measured_utc, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return True
    return (datetime.now(UTC) - measured).days > FRESH_DAYS
