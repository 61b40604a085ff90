"""The picture of the promises: by which factor push is better, in every mode, on a log scale."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from harness.records.format import compact
from harness.report.promises import LABELS, SAVED, SIGNS, less, modes_of, promised
from harness.report.svg import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, Alternative, draw, scale_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.records.schema import CriterionRecord, Observation, RunRecord

_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, GREY)
_BAR_IN = 0.2
_GAP = 0.9
"""Space between two promises, in bars."""
_FRAME_IN = 1.2


class _Bar(NamedTuple):
    """A promise in a mode, and where its bar stands."""

    criterion: CriterionRecord
    place: float
    colour: str


def promises(run: RunRecord, observations: Sequence[Observation]) -> str | None:
    """Return a bar for each promise and mode whose saving was measured; None without any."""
    found = {key: c for key, c in promised(run).items() if c.unit == SAVED and c.value is not None}
    if not found:
        return None
    modes = modes_of(found)
    bars: list[_Bar] = []
    middles: dict[str, float] = {}
    place = 0.0
    for promise, label in LABELS.items():
        group = [(mode, found[promise, mode]) for mode in modes if (promise, mode) in found]
        if group:
            middles[label] = place + (len(group) - 1) / 2
            for mode, c in group:
                bars.append(_Bar(c, place, _COLOURS[min(modes.index(mode), len(_COLOURS) - 1)]))
                place += 1
            place += _GAP
    told = Alternative(
        "Push against polling: what push saves",
        "; ".join(f"{LABELS[c.promise]}, {c.mode}: {less(c.value)}, {c.verdict}" for c, _, _ in bars),
    )
    height_in = _FRAME_IN + _BAR_IN * place
    colours = {bar.criterion.mode: bar.colour for bar in bars}
    return draw("promises", told, height_in, lambda figure: _fill(figure, bars, middles, colours))


def factor(saved: float) -> float:
    """Return how many times less is used where a share of it is saved; infinite where nothing is left."""
    return 1 / (1 - saved) if saved < 1 else math.inf


def _fill(figure: Figure, bars: Sequence[_Bar], middles: dict[str, float], colours: dict[str, str]) -> None:
    axes = figure.add_subplot()
    right = _right_end(bars)
    left = min(1.0, *(0.8 * factor(bar.criterion.value or 0.0) for bar in bars))
    axes.set_xlim(left, right)
    scale_axis(axes, "times")
    for bar in bars:
        _bar(axes, bar, right)
    axes.axvline(1.0, color=INK, linewidth=1)
    axes.set_yticks(list(middles.values()), list(middles))
    axes.set_ylim(bars[-1].place + 0.8, -0.8)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.set_xlabel("times less than polling needs (log scale; ▸ goes on to the right)")
    handles: list[Patch | Line2D] = [Patch(color=colour, label=mode) for mode, colour in colours.items()]
    handles.append(Line2D([], [], color=INK, linewidth=1, label="interval"))
    handles.append(Line2D([], [], color=INK, linewidth=2.5, marker="|", linestyle="none", markersize=9,
                          markeredgewidth=2.5, label="target"))  # fmt: skip
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))


def _right_end(bars: Sequence[_Bar]) -> float:
    """Return where the axis ends: beyond all that is finite."""
    ends = [
        factor(value)
        for c, _, _ in bars
        for value in (c.value, c.ci_low, c.ci_high, c.target)
        if value is not None
    ]
    return 2 * max([end for end in ends if math.isfinite(end)] + [10.0])


def _bar(axes: Axes, bar: _Bar, right: float) -> None:
    c, place, colour = bar
    end = min(factor(c.value or 0.0), right)
    axes.barh(place, end - 1, left=1.0, height=0.82, color=colour, alpha=0.8)
    if end == right:
        axes.plot([right], [place], marker=5, color=colour, markersize=9, clip_on=False)
    if c.ci_low is not None and c.ci_high is not None and factor(c.ci_low) < right:
        span = [min(factor(bound), right) for bound in (c.ci_low, c.ci_high)]
        axes.plot(span, [place, place], color=INK, linewidth=1, solid_capstyle="butt")
        for bound in span:
            axes.plot([bound, bound], [place - 0.2, place + 0.2], color=INK, linewidth=1)
    wanted = factor(c.target)
    if wanted < right:
        axes.plot([wanted, wanted], [place - 0.41, place + 0.41], color=INK, linewidth=2.5)
    axes.annotate(
        f"{SIGNS[c.verdict]} {less(c.value)}{_times(c.value or 0.0)}",
        (1.0, place),
        (10, 0),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        va="center",
    )


def _times(saved: float) -> str:
    times = factor(saved)
    return f"  ({compact(times, 'times')})" if math.isfinite(times) else "  (nothing is left)"
