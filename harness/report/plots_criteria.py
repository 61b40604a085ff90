"""Plots of criteria: how far each is from its target, and the ratio of every block behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.lines import Line2D

from harness.acceptance.samples import Samples
from harness.records.format import compact, quantity
from harness.report.criteria import target
from harness.report.svg import BLUE, GREEN, INK, ORANGE, PURPLE, RED, Alternative, draw, scale_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.records.schema import CriterionRecord, Observation, RunRecord, Verdict

LOOKS: dict[Verdict, tuple[str, str]] = {
    "pass": (GREEN, "o"),
    "fail": (RED, "X"),
    "inconclusive": (ORANGE, "D"),
    "contaminated": (PURPLE, "^"),
}
"""Colour and marker of each verdict."""

_ROW_IN = 0.30
_FRAME_IN = 1.3


def criteria(run: RunRecord, observations: Sequence[Observation]) -> str | None:
    """Return a forest plot of the criteria that have a value, None if none has one."""
    chosen = [c for c in run.criteria if c.kind != "equal" and c.value is not None and _allowed(c) > 0]
    if not chosen:
        return None
    told = Alternative(
        "Criteria: measured over allowed",
        "; ".join(f"{c.id} {quantity(c.value, c.unit)}, target {target(c)}: {c.verdict}" for c in chosen),
    )
    return draw("criteria", told, _FRAME_IN + _ROW_IN * len(chosen), lambda figure: _forest(figure, chosen))


def ratios(run: RunRecord, observations: Sequence[Observation]) -> str | None:
    """Return a forest plot of ratios: every block and the interval; None without any.

    A row for each reduction or ratio criterion.
    """
    samples = Samples(observations)
    rows = []
    for c in run.criteria:
        if c.kind in ("reduction", "ratio"):
            base, candidate = samples.pairs((c.against, c.against_workload), (c.arm, c.workload), c.metric)
            found = [after / before for before, after in zip(base, candidate, strict=True) if before > 0]
            if found:
                rows.append((c, found))
    if not rows:
        return None
    told = Alternative(
        "Ratio of each block",
        "; ".join(
            f"{c.id}, {c.arm} over {c.against}: {', '.join(quantity(ratio, 'times') for ratio in found)}"
            for c, found in rows
        ),
    )
    return draw("ratios", told, _FRAME_IN + 0.36 * len(rows), lambda figure: _strips(figure, rows))


def _allowed(c: CriterionRecord) -> float:
    return 1 - c.target if c.kind in ("reduction", "frontier") else c.target


def _relative(c: CriterionRecord, value: float) -> float:
    """Return what was measured over what is allowed: 1 meets the target exactly, less is better."""
    if c.kind in ("reduction", "frontier"):
        return (1 - value) / _allowed(c)
    if c.kind == "at_least":
        return c.target / value if value > 0 else float("inf")
    return value / c.target


def _forest(figure: Figure, chosen: Sequence[CriterionRecord]) -> None:
    axes = figure.add_subplot()
    spans = [sorted(_relative(c, v) for v in (c.ci_low, c.value, c.ci_high) if v is not None) for c in chosen]
    floor = _floor([value for span in spans for value in span] + [1.0])
    for row, (c, span) in enumerate(zip(chosen, spans, strict=True)):
        colour, marker = LOOKS[c.verdict]
        clipped = [max(value, floor) for value in span]
        axes.plot([clipped[0], clipped[-1]], [row, row], color=colour, linewidth=2, solid_capstyle="butt")
        middle = _relative(c, c.value or 0.0)
        bounded = c.ci_low is not None and c.ci_high is not None
        axes.plot(
            [max(middle, floor)],
            [row],
            marker=marker if middle > floor else "<",
            color=colour,
            markersize=7,
            linestyle="none",
            fillstyle="full" if bounded else "none",
        )
    axes.axvline(1.0, color=INK, linewidth=1.2)
    _rows(axes, [c.id for c in chosen], [f"{quantity(c.value, c.unit)} ({target(c)})" for c in chosen])
    scale_axis(axes, "times")
    axes.set_xlabel("measured ÷ allowed (log scale; left of 1 meets the target)")
    verdicts = [verdict for verdict in LOOKS if any(c.verdict == verdict for c in chosen)]
    handles = [
        Line2D([], [], color=LOOKS[v][0], marker=LOOKS[v][1], linewidth=2, markersize=7, label=v)
        for v in verdicts
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))


def _strips(figure: Figure, rows: Sequence[tuple[CriterionRecord, list[float]]]) -> None:
    axes = figure.add_subplot()
    floor = _floor([value for _, found in rows for value in found] + [_allowed(c) for c, _ in rows])
    for row, (c, found) in enumerate(rows):
        # Spread over the row in order of the blocks, so that equal ratios stay apart.
        heights = [row + 0.4 * ((i + 0.5) / len(found) - 0.5) for i in range(len(found))]
        for ratio, height in zip(found, heights, strict=True):
            marker = "o" if ratio > floor else "<"
            axes.plot(
                [max(ratio, floor)],
                [height],
                marker=marker,
                color=BLUE,
                alpha=0.75,
                markersize=5,
                linestyle="none",
            )
        _estimate(axes, c, row, floor)
        axes.plot([max(_allowed(c), floor)] * 2, [row - 0.36, row + 0.36], color=INK, linewidth=2)
    labels = [f"{c.id}\n{c.arm} ÷ {c.against}" for c, _ in rows]
    _rows(axes, labels, [f"target {compact(_allowed(c), 'times')}" for c, _ in rows])
    scale_axis(axes, "times")
    axes.set_xlabel("ratio (log scale; left of the thick mark meets the target, ◂ is 0)")


def _estimate(axes: Axes, c: CriterionRecord, row: int, floor: float) -> None:
    """Draw what the criterion estimates the ratio to be, with its bounds."""
    found = [v if c.kind == "ratio" else 1 - v for v in (c.ci_low, c.value, c.ci_high) if v is not None]
    clipped = sorted(max(ratio, floor) for ratio in found)
    if not clipped or clipped[0] <= 0:
        return
    axes.plot([clipped[0], clipped[-1]], [row, row], color=INK, linewidth=1.2, solid_capstyle="butt")
    middle = 0.0 if c.value is None else c.value if c.kind == "ratio" else 1 - c.value
    if middle > floor:
        axes.plot([middle], [row], marker="D", color=INK, markersize=4.5, linestyle="none")


def _floor(values: Sequence[float]) -> float:
    """Return where a logarithmic axis ends on the left; what is 0 is drawn there as an arrow."""
    above = [value for value in values if value > 0]
    return min(above) / 3 if any(value <= 0 for value in values) else 0.0


def _rows(axes: Axes, labels: Sequence[str], notes: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    for row, note in enumerate(notes):
        axes.annotate(
            note,
            (1.0, row),
            (8, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
        )
