"""What a run measured, by metric of a cell, as comparisons take it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harness.acceptance.estimate import LAG_LIMIT_S
from harness.regression.margins import MARGINS
from harness.regression.verdict import Key

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from harness.records.schema import Observation

YARDSTICKS = ("floors", "grpc_aio", "polling")
"""Stacks that others are measured against: a change of theirs is none of ours."""

FLOOR_METRIC = "latency_p50_s"
LEAST_FLOOR_S = 1e-9
"""A floor below is no time of anything."""
VOID_SHARE = 0.1
"""Share of the blocks that may lack something without harm: a sample, a floor, a load that came in time."""
_BOUNDS = dict.fromkeys(("latency_p99_s", "intended_p99_s"), "latency_p99_bound_s")
"""Metrics that say nothing without another: a 99th percentile of less than 299 operations has no bound."""

Values = dict[int, float]
"""Value of a metric by block."""


class Cell(NamedTuple):
    """What two runs must have in common to be compared."""

    arm: str
    workload: str


class Setup(NamedTuple):
    """What a cell ran, to be equal on both sides."""

    stack: str
    mode: str
    loop: str
    kind: str
    params: tuple[tuple[str, str], ...]


class Stored(NamedTuple):
    """A run by metric.

    Attributes:
        values: Of every gated metric, as measured, by block.
        setups: What each cell ran; yardsticks are not among them.
        failed: Cells that did not end well, and why.
        unsupported: Cells that cannot run at all, and why.
        void: How much the load generator lagged, in seconds by block, where that is too much: that block is
            no sample.
        floors: Time of every floor, by block.
        steps: Every block, in order.
    """

    values: dict[Key, Values]
    setups: dict[Cell, Setup]
    failed: dict[Cell, str]
    unsupported: dict[Cell, str]
    void: dict[Cell, Values]
    floors: dict[tuple[Cell, Setup], Values]
    steps: list[int]

    def metrics(self, cell: Cell) -> set[str]:
        """Return the gated metrics that a cell has values of."""
        return {key.metric for key in self.values if key[:2] == cell}

    def unfit(self, cell: Cell) -> str:
        """Return why nothing of a cell can be compared; empty if it can."""
        lags = self.void.get(cell, {})
        if cell in self.failed or len(lags) <= VOID_SHARE * len(self.steps):
            return self.failed.get(cell, "")
        worst = f"{max(lags.values()) * 1e3:.1f} ms at p99 at worst"
        return f"lagged behind its load in {len(lags)} of {len(self.steps)} blocks, {worst}: they are void"


def stored(observations: Iterable[Observation]) -> Stored:
    """Return what of a run is compared, from all of its observations."""
    made, blocks = Stored({}, {}, {}, {}, {}, {}, []), set()
    for o in observations:
        blocks.add(o.block)
        cell, setup = Cell(o.arm, o.workload), _setup(o)
        if o.stack in YARDSTICKS:
            value = o.metrics.get(FLOOR_METRIC)
            if o.stack == "floors" and o.status == "ok" and value is not None and value >= LEAST_FLOOR_S:
                made.floors.setdefault((cell, setup), {})[o.block] = value
            continue
        made.setups[cell] = setup
        lag_s = o.metrics.get("lag_p99_s") or 0.0
        if o.status == "ok" and lag_s > LAG_LIMIT_S:
            made.void.setdefault(cell, {})[o.block] = lag_s
        elif o.status == "ok":
            for name, measured in _gated(o):
                made.values.setdefault(Key(*cell, name), {})[o.block] = measured
        elif o.status == "unsupported":
            made.unsupported.setdefault(cell, "; ".join(o.reasons))
        else:
            made.failed.setdefault(cell, f"{o.status} in block {o.block}: {'; '.join(o.reasons)}")
    return made._replace(steps=sorted(blocks))


def _setup(o: Observation) -> Setup:
    return Setup(o.stack, o.mode, o.loop, o.kind, tuple(sorted((k, str(v)) for k, v in o.params.items())))


def _gated(o: Observation) -> Iterator[tuple[str, float]]:
    for name, value in o.metrics.items():
        if name in MARGINS and value is not None and o.metrics.get(_BOUNDS.get(name, name)) is not None:
            yield name, value
