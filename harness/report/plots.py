"""Every plot of a run, by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from harness.records.schema import Observation, RunRecord
from harness.report.plots_comparison import comparison, frontier
from harness.report.plots_criteria import criteria, ratios
from harness.report.plots_growth import growth, phases
from harness.report.plots_latency import latencies
from harness.report.plots_promises import promises

Plot = Callable[[RunRecord, Sequence[Observation]], str | None]

PLOTS: Mapping[str, Plot] = {
    "promises": promises,
    "criteria": criteria,
    "comparison": comparison,
    "ratios": ratios,
    "frontier": frontier,
    "growth": growth,
    "phases": phases,
}
"""Those that a run has one of, whatever its workloads."""


def plots(run: RunRecord, observations: Sequence[Observation]) -> dict[str, str]:
    """Return the plots whose data is there, each as an ``<svg>`` element; a distribution for each workload.

    Raises:
        ValueError: A histogram is damaged.
    """
    drawn = {name: plot(run, observations) for name, plot in PLOTS.items()}
    return {name: svg for name, svg in drawn.items() if svg is not None} | latencies(run, observations)
