"""Plots of growth and of rounds: times over size, and the phases of a round as shares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from harness.records.format import quantity
from harness.report.rounds import PHASES, round_cells
from harness.report.scaling import SIZES, Series, series, size_text
from harness.report.svg import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    Alternative,
    draw,
    tick_formatter,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.records.schema import Observation, RunRecord
    from harness.report.rounds import RoundCell

_COLOURS = (BLUE, RED, GREEN, ORANGE, PURPLE, SKY, GREY)
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_PHASE_COLOURS = (BLUE, SKY, ORANGE, GREEN)


def growth(run: RunRecord, observations: Sequence[Observation]) -> str | None:
    """Return median times over size, a panel for each kind of size; None where nothing was sized."""
    found = series(run, {o.workload: o.kind for o in observations})
    if not found:
        return None
    told = Alternative(
        "Time over size",
        "; ".join(f"{s.kind}, {s.arm}, by {s.size}: exponent {s.exponent:.2f}" for s in found),
    )
    sizes = [size for size in SIZES if any(s.size == size for s in found)]
    height_in = 0.4 + 3.0 * len(sizes) + 0.22 * -(-len(found) // 3)
    return draw("growth", told, height_in, lambda figure: _fill(figure, sizes, found), width_in=6.4)


def phases(run: RunRecord, observations: Sequence[Observation]) -> str | None:
    """Return the mean round of each cell as a bar, each phase with its share; None without any."""
    cells = round_cells(run)
    if not cells:
        return None
    told = Alternative("Phases of a round", "; ".join(_told(cell) for cell in cells))
    return draw("phases", told, 1.1 + 0.34 * len(cells), lambda figure: _bars(figure, cells))


def _fill(figure: Figure, sizes: Sequence[str], found: Sequence[Series]) -> None:
    panels = figure.subplots(len(sizes), 1, squeeze=False)[:, 0]
    looks = {s: (_COLOURS[i % len(_COLOURS)], _MARKERS[i % len(_MARKERS)]) for i, s in enumerate(found)}
    for axes, size in zip(panels, sizes, strict=True):
        shown = [s for s in found if s.size == size]
        for s in shown:
            colour, marker = looks[s]
            xs, ys = zip(*s.points, strict=True)
            axes.plot(xs, ys, color=colour, marker=marker, linewidth=1.6, label=f"{s.kind}, {s.arm}")
        _scale(axes, size, sorted({x for s in shown for x, _ in s.points}))
    figure.legend(loc="outside lower center", ncols=2)


def _scale(axes: Axes, size: str, ticks: Sequence[float]) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(ticks)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: size_text(value, size)))
    axes.yaxis.set_major_formatter(tick_formatter("s"))
    low, high = axes.get_ylim()
    if high < 100 * low:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(f"{size} (log scale)")
    axes.set_ylabel("median time (log scale)")


def _told(cell: RoundCell) -> str:
    parts = zip(PHASES.values(), cell.phases_s, strict=True)
    spent = ", ".join(f"{name} {s / cell.round_s:.0%}" for name, s in parts)
    return f"{cell.workload}, {cell.arm}: {quantity(cell.round_s, 's')}, of that {spent}"


def _bars(figure: Figure, cells: Sequence[RoundCell]) -> None:
    axes = figure.add_subplot()
    left = [0.0] * len(cells)
    for place, (name, colour) in enumerate(zip(PHASES.values(), _PHASE_COLOURS, strict=True)):
        shares = [cell.phases_s[place] / cell.round_s for cell in cells]
        axes.barh(range(len(cells)), shares, 0.62, left=left, color=colour, label=name)
        left = [start + share for start, share in zip(left, shares, strict=True)]
    for row, cell in enumerate(cells):
        axes.annotate(
            quantity(cell.round_s, "s"), (1.0, row), (6, 0), textcoords="offset points", va="center"
        )
    axes.set_yticks(range(len(cells)), [f"{cell.workload}, {cell.arm}" for cell in cells])
    axes.set_ylim(len(cells) - 0.5, -0.5)
    axes.set_xlim(0, 1.12)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_formatter(tick_formatter("share"))
    axes.set_xlabel("share of the round; behind it the mean round")
    figure.legend(loc="outside upper center", ncols=len(PHASES))
