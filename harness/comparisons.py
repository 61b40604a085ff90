"""The commands that compare: stored runs, runs with baselines, revisions; and how often they err."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fedbench.errors import ConfigError, Problem
from harness.gate.compare import compare, confirmed, suspected
from harness.gate.margins import overridden
from harness.gate.outcome import ExitCode
from harness.records.environment import fingerprint, machine_class
from harness.records.schema import ComparisonRecord
from harness.regress import baselines, calibration, revisions
from harness.regress.comparing import Rules, compare_stored, conclude
from harness.regress.microbench import stored_benchmarks
from harness.regress.runs import read_run
from harness.suitefile import SUITES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rich.console import Console

    from harness.gate.margins import Margin
    from harness.records.schema import Rates
    from harness.regress.comparing import FailOn
    from harness.regress.runs import StoredRun

FRESH_DAYS = 30
"""Base runs that are older are collected anew."""


class Asked(NamedTuple):
    """What all comparisons are asked.

    Attributes:
        command: How it was asked for.
        thresholds: Margins that are not the usual ones, each as ``METRIC=SHARE``.
        fail_on: What counts as a failure.
    """

    command: str
    thresholds: Sequence[str]
    fail_on: FailOn


def rates_here() -> Rates | None:
    """Return how often comparisons err on this machine; None if that is not known, or cannot be read."""
    try:
        here = calibration.known(machine_class(fingerprint()))
    except ConfigError:
        return None  # a report does without; whoever compares is told
    return None if here is None else here.rates_of("paired")


def read_any(paths: Sequence[Path]) -> StoredRun:
    """Return the run in a folder, or the one that JSON files of pytest-benchmark make.

    Raises:
        ConfigError: It cannot be read, or several folders are given.
    """
    if any(path.is_file() for path in paths):
        return stored_benchmarks(paths)
    if len(paths) > 1:
        raise ConfigError(
            str(paths[1]), [Problem("", "give one run; only files of pytest-benchmark may be several")]
        )
    return read_run(paths[0])


def compare_runs(base: Path, candidate: Path, asked: Asked) -> ComparisonRecord:
    """Compare two stored runs."""
    sides = read_run(base), read_run(candidate)
    machine = machine_class(sides[1].record.environment)
    return compare_stored("compare", *sides, _rules(asked, machine, "stored"), command=asked.command)


def check_run(paths: Sequence[Path], baseline: str, asked: Asked) -> ComparisonRecord:
    """Check a stored run, or JSON files of pytest-benchmark, against a baseline."""
    base, candidate = baselines.baseline(baseline), read_any(paths)
    machine = machine_class(candidate.record.environment)
    return compare_stored("check", base, candidate, _rules(asked, machine, "stored"), command=asked.command)


def compare_revisions(
    names: tuple[str, str], suite: str, blocks: int | None, asked: Asked, say: Callable[[str], None]
) -> ComparisonRecord:
    """Measure two revisions in turn, and confirm what is suspected by a fresh batch.

    Args:
        names: Base and candidate.
        suite: Name or file of the suite that both run.
        blocks: Of a batch; None for what the calibration found, or 10.
        asked: How to judge.
        say: Told how it goes.

    Raises:
        ConfigError: One is no revision, or there is no such suite.
        RevisionFailed: One cannot be set up or run.
    """
    machine = machine_class(fingerprint())
    rules = _rules(asked, machine, "paired")
    here = calibration.known(machine)
    usual = here.blocks if here is not None else 10
    plan = revisions.Plan(_suite_file(suite), blocks or usual, int(time.time()))
    with revisions.checked_out(names, say) as (base, candidate):
        first = revisions.measure(base, candidate, plan, say)
        samples, left_out = revisions.samples_of(first, rules.least or {})
        changes, failing = compare(samples, rules.margins), dict(first.candidate.failed)
        if suspected(changes):
            say(f"confirming {len(suspected(changes))} suspicions")
            again = plan._replace(seed=plan.seed + 1, select=revisions.suspects_only(changes))
            second = revisions.measure(base, candidate, again, say)
            failing |= second.candidate.failed
            fresh, _ = revisions.samples_of(second, rules.least or {})
            changes = confirmed(changes, fresh, rules.margins)
    failed = sorted(map(" ".join, failing))
    verdict, reason, exit_code = conclude(changes, failed, asked.fail_on, left_out)
    return ComparisonRecord(
        kind="ab",
        base=f"{base.name} ({base.commit[:7]})",
        candidate=f"{candidate.name} ({candidate.commit[:7]})",
        command=asked.command,
        created_utc=f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
        paired=True,
        environment=fingerprint(),
        changes=changes,
        not_compared=left_out,
        warnings=[],
        rates=rules.rates,
        verdict=verdict,
        reason=reason,
        exit_code=int(exit_code),
    )


def print_baselines(out: Console) -> None:
    """Print name, suite, commit, date and class of machines of every baseline."""
    known = baselines.names()
    if not known:
        out.print("no baselines: keep a run by `fedbench baseline set NAME RUN`", highlight=False)
    for name in known:
        record = baselines.baseline(name).record
        commit = str(record.environment.get("commit"))[:7]
        line = (
            f"{name}: {record.suite} at {commit}, {record.started_utc}, {machine_class(record.environment)}"
        )
        out.print(line, markup=False, highlight=False, soft_wrap=True)


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
        The exit code: 1 where more than 1 % of the comparisons alarm, or fewer than 90 % detect, for certain.
    """
    machine = machine_class(fingerprint())
    kept = None if fresh or run is not None else calibration.known(machine)
    if kept is not None and not _stale(kept.base):
        base = kept.base
        out.print(f"drawing from the base runs of {base.measured_utc} ({base.commit[:7]})", highlight=False)
    else:
        base = calibration.base_runs(read_run(run or collect(), whole=False))
        if base.machine != machine:
            problem = Problem("", f"was measured on {base.machine}, this is {machine}: collect them here")
            raise ConfigError("base runs", [problem])
    found = calibration.calibrate(base, overridden(()), comparisons, seed=0)
    out.print(f"kept in {calibration.keep(found)}", highlight=False, soft_wrap=True)
    return _say_rates(found, out)


def _say_rates(found: calibration.Calibration, out: Console) -> int:
    worst = ExitCode.OK
    out.print(
        f"{found.base.machine}: {found.blocks} blocks a batch side by side", highlight=False, soft_wrap=True
    )
    for rates in found.rates:
        out.print(
            f"{rates.procedure}: {rates.alarms} of {rates.comparisons} A/A comparisons alarmed "
            f"(at most {rates.alarms_upper:.1%} at 95 %), {rates.detected} of {rates.injected} slow-downs of "
            f"twice the margin were confirmed (at least {rates.detected_lower:.1%})",
            highlight=False,
            soft_wrap=True,
        )
        for name, count in found.alarming[rates.procedure].items():
            out.print(f"  {name}: {count} alarms", highlight=False, soft_wrap=True)
        if rates.alarms > 0.01 * rates.comparisons or rates.detected < 0.9 * rates.injected:
            worst = ExitCode.FAILED
    return int(worst)


def _rules(asked: Asked, machine: str, procedure: str) -> Rules:
    margins: dict[str, Margin] = dict(overridden(asked.thresholds))
    here = calibration.known(machine)
    rates = None if here is None or asked.thresholds else here.rates_of(procedure)
    return Rules(margins, rates, None if here is None else here.least_of(procedure), asked.fail_on)


def _suite_file(suite: str) -> Path:
    path = SUITES / f"{suite}.yaml"
    path = path if path.is_file() else Path(suite).resolve()
    if not path.is_file():
        raise ConfigError(suite, [Problem("", "is neither a suite nor a file")])
    return path


def _stale(base: calibration.BaseRuns) -> bool:
    try:
        measured = datetime.strptime(base.measured_utc, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        return True
    return (datetime.now(UTC) - measured).days > FRESH_DAYS
