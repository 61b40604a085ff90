"""Whole distributions of latency: the histograms of all blocks of a cell as one. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from harness.stats.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.records.schema import Observation

PERCENTILES = (0.5, 0.9, 0.99, 0.999, 1.0)
"""Those that reports show; the last is the largest value."""

BEYOND = 5 - 1e-9
"""Operations beyond a percentile that it takes, less what a share of a count is rounded by."""


class Distribution(NamedTuple):
    """Which distribution of which cell.

    Attributes:
        name: ``latency``, ``intended`` or ``lag``.
    """

    workload: str
    arm: str
    name: str


def distributions(observations: Iterable[Observation]) -> dict[Distribution, Histogram]:
    """Return the histograms of every cell, all blocks merged, in order of first appearance.

    Empty ones are left out, and those of observations that did not end well: their numbers count nowhere.

    Raises:
        ValueError: A histogram is damaged.
    """
    found: dict[Distribution, Histogram] = {}
    for o in observations:
        for name, data in o.histograms.items() if o.status == "ok" else ():
            histogram = Histogram.from_dict(data)
            if histogram.count:
                found.setdefault(Distribution(o.workload, o.arm, name), Histogram()).merge(histogram)
    return found


def percentiles_s(histogram: Histogram) -> Mapping[float, float | None]:
    """Return :data:`PERCENTILES` in s; None where fewer than 5 operations lie beyond one, the largest aside.

    With fewer than that the percentile is one of the largest few values and jumps from run to run.
    """
    return {
        p: histogram.percentile(p) / 1e9 if p in (0.5, 1.0) or histogram.count * (1 - p) >= BEYOND else None
        for p in PERCENTILES
    }
