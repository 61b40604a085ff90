"""What a report is made from: a run's record, and what lies beside it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from harness.records.distributions import Distribution, distributions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.records.schema import Observation, Rates
    from harness.stats.histogram import Histogram

FILES = (
    ("run.json", "environment, order, cells, criteria and verdict, under a versioned schema"),
    ("observations.jsonl", "every observation with its latency histograms, in the order measured"),
    ("samples.csv.gz", "one row for each block, arm, workload and metric"),
    ("junit.xml", "the criteria as test cases, for continuous integration"),
)


@dataclass(frozen=True)
class Material:
    """What there is beside the record of a run.

    Attributes:
        observations: All of its observations.
        files: Files in its folder, relative to it, and what is in each.
        flames: Flame graphs in its folder: path, and the picture, None for one that is left out.
        rates: How often comparisons err on this class of machines; None where that was not calibrated.
    """

    observations: Sequence[Observation] = ()
    files: Sequence[tuple[str, str]] = FILES
    rates: Rates | None = None
    flames: Sequence[tuple[str, bytes | None]] = ()

    @cached_property
    def kinds(self) -> Mapping[str, str]:
        """Kind of each workload."""
        return {o.workload: o.kind for o in self.observations}

    @cached_property
    def distributions(self) -> Mapping[Distribution, Histogram]:
        """Every distribution of latency, all blocks merged.

        Raises:
            ValueError: A histogram is damaged.
        """
        return distributions(self.observations)


NOTHING_BESIDE = Material()
