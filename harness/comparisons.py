"""The commands that compare: stored runs, runs with baselines, revisions."""

from __future__ import annotations

import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fedbench.errors import ConfigError, Problem
from harness.calibrating import FRESH_DAYS, stale
from harness.records.environment import fingerprint, machine_class
from harness.regression import aa, ab, baselines, duration, environments
from harness.regression.changes import CONFIRM, key_of, screened, suspected, too_few
from harness.regression.compare import compare_stored
from harness.regression.conclusion import Compared, Rules, concluded, powerless, short, unconfirmable
from harness.regression.confirm import confirmed
from harness.regression.margins import overridden
from harness.regression.matching import left_out
from harness.regression.microbench import stored_benchmarks
from harness.regression.runs import read_run
from harness.run.plan import expected_s
from harness.run.plan import plan as planned
from harness.stacks.registry import check_settings, stack_names
from harness.suitefile import SUITES, load_suite
from harness.workloads.beside import PACE_S, Pace
from harness.workloads.registry import catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rich.console import Console

    from harness.records.schema import Change, ComparisonRecord
    from harness.regression.conclusion import FailOn
    from harness.regression.margins import Margin
    from harness.regression.runs import StoredRun
    from harness.regression.stored import Cell

USUAL_BLOCKS = 12
"""Blocks of a batch where nothing is calibrated: with seven a fresh batch confirms one suspicion at most."""


PACES = 50
"""Times that the pace is taken to see how fast a machine is: about 5 ms."""


class Asked(NamedTuple):
    """What all comparisons are asked.

    Attributes:
        command: How it was asked for.
        thresholds: Margins that are not the usual ones, each as ``METRIC=SHARE``.
        fail_on: What counts as a failure.
        fresh_environments: Whether revisions get environments that nobody has used.
    """

    command: str
    thresholds: Sequence[str]
    fail_on: FailOn
    fresh_environments: bool = False


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
    return compare_stored("compare", *sides, _stored_rules(asked, sides[1]), command=asked.command)


def check_run(paths: Sequence[Path], baseline: str, asked: Asked) -> ComparisonRecord:
    """Check a stored run, or JSON files of pytest-benchmark, against a baseline."""
    base, candidate = baselines.baseline(baseline), read_any(paths)
    return compare_stored("check", base, candidate, _stored_rules(asked, candidate), command=asked.command)


def compare_revisions(
    names: tuple[str, str], suite: str, blocks: int | None, asked: Asked, say: Callable[[str], None]
) -> ComparisonRecord:
    """Measure two revisions in turn, and confirm what is suspected by a fresh batch.

    Args:
        names: Base and candidate.
        suite: Name or file of the suite that both run.
        blocks: Of a batch; None for what the calibration found, or :data:`USUAL_BLOCKS`.
        asked: How to judge.
        say: Told how it goes.

    Raises:
        ConfigError: One is no revision, or there is no such suite.
        RevisionFailed: One cannot be set up or run.
    """
    machine = machine_class(fingerprint())
    file = _suite_file(suite)
    rules = _rules(asked, machine, "paired", file.stem if file.parent == SUITES else str(file))
    here = aa.known(machine)
    plan = ab.Plan(file, blocks or (here.blocks if here else USUAL_BLOCKS), int(time.time()))
    say(duration.beforehand(plan.blocks, _suite_s(file), _slowness()))
    kept = None if asked.fresh_environments else environments.usual_root()
    with ab.checked_out(names, say, kept=kept) as (base, candidate):
        found = _measured(base, candidate, plan, rules, say)
    made = Compared(
        kind="ab",
        base=f"{base.name} ({base.commit[:7]})",
        candidate=f"{candidate.name} ({candidate.commit[:7]})",
        paired=True,
        environment=fingerprint(),
        changes=found.changes,
        failed=found.failed,
        left_out=left_out(found.first.base, found.first.candidate),
        warnings=[*found.warnings, *short(rules.rates, plan.blocks)],
    )
    return concluded(made, rules, asked.command)


class _Found(NamedTuple):
    """What came of measuring two revisions: the first batch, and what both say."""

    first: ab.Measured
    changes: Sequence[Change]
    failed: Mapping[Cell, str]
    warnings: Sequence[str]


def _measured(
    base: ab.Revision, candidate: ab.Revision, plan: ab.Plan, rules: Rules, say: Callable[[str], None]
) -> _Found:
    """Measure a batch, and a fresh one of what it makes suspect."""
    first = ab.measure(base, candidate, plan, say)
    samples = ab.samples_of(first, rules.detectable)
    changes, warnings = screened(samples, rules.margins), powerless(samples, paired=True)
    failed, control = dict(first.candidate.failed), dict(first.again.failed)
    suspects = {key_of(change) for change in suspected(changes)}
    if suspects:
        say(f"confirming {len(suspects)} suspicions")
        again = plan._replace(seed=plan.seed + 1, select=ab.suspects_only(changes))
        second = ab.measure(base, candidate, again, say)
        failed |= second.candidate.failed
        control |= second.again.failed
        fresh = ab.samples_of(second, rules.detectable)
        few = too_few({key: sides for key, sides in fresh.items() if key in suspects}, alpha=CONFIRM)
        warnings += unconfirmable(few, plan.blocks)
        changes = confirmed(changes, fresh, rules.margins)
    lost = [f"{' '.join(cell)}: the base, measured again, {why}" for cell, why in control.items()]
    return _Found(first, changes, failed, [*lost, *warnings])


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


def _stored_rules(asked: Asked, candidate: StoredRun) -> Rules:
    machine = machine_class(candidate.record.environment)
    return _rules(asked, machine, "stored", candidate.record.suite)


def _rules(asked: Asked, machine: str, procedure: str, suite: str) -> Rules:
    margins: dict[str, Margin] = dict(overridden(asked.thresholds))
    here = aa.known(machine)
    if here is None:
        return Rules(margins, fail_on=asked.fail_on)
    if here.base.suite != suite:
        other = f"this machine is calibrated for the suite {here.base.suite}, not for {suite}"
        return Rules(margins, fail_on=asked.fail_on, warnings=[other])
    warnings = []
    if stale(here.base):
        warnings.append(
            f"the calibration is of {here.base.measured_utc}, more than {FRESH_DAYS} days ago: "
            "run `fedbench aa` again"
        )
    rates = here.rates_of(procedure)
    detectable = here.detectable_of(procedure)
    if asked.thresholds:
        rates, detectable = None, {}
        warnings.append(
            "the error rates of this machine are those of the usual margins, --threshold set others"
        )
    return Rules(margins, rates, detectable, asked.fail_on, warnings)


def _suite_s(file: Path) -> float:
    """Return about how long one block of a suite takes, in seconds."""
    suite = load_suite(str(file), catalogue(), stack_names(), check=check_settings)
    return expected_s(planned(replace(suite, blocks=1), seed=0))


def _slowness() -> float:
    """Return how many times as long this machine takes to compute as the one that the estimates are of."""
    pace = Pace(0, 0)
    return statistics.median(pace.time() for _ in range(PACES)) / 1e9 / PACE_S


def _suite_file(suite: str) -> Path:
    path = SUITES / f"{suite}.yaml"
    path = path if path.is_file() else Path(suite).resolve()
    if not path.is_file():
        raise ConfigError(suite, [Problem("", "is neither a suite nor a file")])
    return path
