"""Stored runs for notebooks: one call from a run's folder to tables of pandas.

::

    from harness import results

    run = results.load("results/20250102T030405Z-quick-0a1b2c3")
    run.criteria.query("verdict != 'pass'")
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from fedbench.errors import ConfigError, Problem
from harness.records.agreement import contradictions
from harness.records.distributions import Distribution, distributions, percentiles_s
from harness.records.metrics import METRICS
from harness.records.store import OBSERVATIONS, Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from harness.records.schema import Observation, RunRecord
    from harness.stats.histogram import Histogram

OBSERVED = ("block", "order", "arm", "stack", "mode", "loop", "workload")
"""What tells one observation from the others."""


class Results(NamedTuple):
    """A run as tables. Times are in seconds, sizes in bytes; what is missing is NaN.

    Attributes:
        record: All of ``run.json``: verdict, environment, warnings, order.
        observations: A row for each block, arm, workload and metric: :data:`OBSERVED`, ``status``,
            ``metric``, ``unit``, ``value``, and ``missing``, which says why there is no value. What did
            not end well has no metric, and stands in ``failures``.
        failures: A row for each block, arm and workload that did not end well: :data:`OBSERVED`, ``status``
            (``failed``, ``timeout`` or ``unsupported``) and ``reason``.
        cells: A row for each arm, workload and metric over all blocks: ``value`` is the Hodges-Lehmann
            estimate, ``ci_low`` and ``ci_high`` its one-sided 95 % bounds, ``n`` the blocks behind it.
        criteria: A row for each criterion as decided.
        percentiles: A row for each distribution of latency, all blocks merged: ``p50_s`` to ``p999_s`` and
            ``max_s``; NaN where fewer than 5 operations lie beyond one.
        histograms: A row for each bucket of a distribution in each block: ``value_s``, which is less than
            0.1 % above the values in it, and their ``count``.
    """

    record: RunRecord
    observations: pd.DataFrame
    failures: pd.DataFrame
    cells: pd.DataFrame
    criteria: pd.DataFrame
    percentiles: pd.DataFrame
    histograms: pd.DataFrame


def load(folder: str | Path) -> Results:
    """Read the folder of a run. Nothing in it is changed.

    Args:
        folder: Where ``run.json`` and ``observations.jsonl`` lie.

    Raises:
        ConfigError: The folder holds no run, one of a newer schema, one in which nothing was measured, or its
            files were damaged or edited by hand to something that is no run.
    """
    record, observations = read(Path(folder))
    if not observations:
        message = "holds no observation: nothing was measured; run.json says why, and what was planned"
        raise ConfigError(str(Path(folder) / OBSERVATIONS), [Problem("", message)])
    try:
        merged = distributions(observations)
        buckets = [row for o in observations for row in _buckets(o)]
    except ValueError as error:
        raise damaged(Path(folder), error) from error
    return Results(
        record,
        _frame((*OBSERVED, "status", "metric", "unit", "value", "missing"), _observed(observations)),
        _frame(
            (*OBSERVED, "status", "reason"),
            ([*_key(o), o.status, "; ".join(o.reasons)] for o in observations if o.status != "ok"),
        ),
        _frame(_CELL_COLUMNS, _cells(record)),
        _frame(
            _CRITERION_COLUMNS, ([getattr(c, name) for name in _CRITERION_COLUMNS] for c in record.criteria)
        ),
        _frame(_PERCENTILE_COLUMNS, _percentiles(merged)),
        _frame((*OBSERVED, "distribution", "value_s", "count"), buckets),
    )


def read(folder: Path) -> tuple[RunRecord, list[Observation]]:
    """Return a run's record and its observations.

    Raises:
        ConfigError: The folder holds none, one of another schema, a damaged one, or one whose files
            contradict each other.
    """
    if not folder.is_dir():
        raise ConfigError(str(folder), [Problem("", "is no folder: name the folder of a run")])
    store = Store(folder)
    record = store.read_run()  # first: of a run that is going on, observations may be newer, never older
    observations = store.observations()
    if problems := contradictions(record, observations):
        told = "; ".join(problems[:_TOLD]) + f"; and {len(problems) - _TOLD} more" * (len(problems) > _TOLD)
        message = f"{told}: one of the two was cut or edited, bring back what the run wrote"
        raise ConfigError(str(folder / OBSERVATIONS), [Problem("", message)])
    return record, observations


def damaged(folder: Path, error: Exception) -> ConfigError:
    """Return what to raise where the observations of a run can be decoded and not be true."""
    return ConfigError(str(folder / OBSERVATIONS), [Problem("", f"holds damaged observations: {error}")])


_TOLD = 3
"""Contradictions that one message names."""

_CELL_COLUMNS = (
    "arm", "stack", "mode", "loop", "workload", "status",
    "metric", "unit", "direction", "value", "ci_low", "ci_high", "n", "reason",
)  # fmt: skip
_CRITERION_COLUMNS = (
    "id", "title", "kind", "mode", "workload", "metric", "arm", "against", "against_workload",
    "unit", "target", "value", "ci_low", "ci_high", "n", "verdict", "reason",
)  # fmt: skip
_PERCENTILE_COLUMNS = (
    "workload", "arm", "distribution", "count", "p50_s", "p90_s", "p99_s", "p999_s", "max_s",
)  # fmt: skip
_NUMBERS = ("value", "ci_low", "ci_high", "target", *_PERCENTILE_COLUMNS[4:])


def _frame(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> pd.DataFrame:
    frame = pd.DataFrame([list(row) for row in rows], columns=list(columns))
    return frame.astype({name: "float64" for name in _NUMBERS if name in columns})


def _observed(observations: Iterable[Observation]) -> Iterator[Sequence[Any]]:
    for o in observations:
        for name, value in o.metrics.items():
            metric = METRICS.get(name)  # a run of another version may have metrics of its own
            missing = o.missing.get(name, metric.missing if metric else "") if value is None else ""
            yield [*_key(o), o.status, name, metric.unit if metric else "", value, missing]


def _key(observation: Observation) -> list[Any]:
    return [getattr(observation, name) for name in OBSERVED]


def _cells(record: RunRecord) -> Iterator[Sequence[Any]]:
    for c in record.cells:
        for name, m in c.metrics.items():
            summary = [m.unit, m.direction, m.value, m.ci_low, m.ci_high, m.n, m.reason]
            yield [c.arm, c.stack, c.mode, c.loop, c.workload, c.status, name, *summary]


def _buckets(observation: Observation) -> Iterator[Sequence[Any]]:
    for key, histogram in distributions([observation]).items():
        values_ns, shares = histogram.cdf()
        below = 0
        for value_ns, share in zip(values_ns.tolist(), shares.tolist(), strict=True):
            up_to = round(share * histogram.count)
            yield [*_key(observation), key.name, value_ns / 1e9, up_to - below]
            below = up_to


def _percentiles(merged: Mapping[Distribution, Histogram]) -> Iterator[Sequence[Any]]:
    for key, histogram in merged.items():
        yield [key.workload, key.arm, key.name, histogram.count, *percentiles_s(histogram).values()]
