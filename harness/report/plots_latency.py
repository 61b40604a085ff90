"""Plots of latency: the whole distribution of each arm, a figure for each workload."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from harness.records.distributions import distributions
from harness.records.format import quantity
from harness.report.arms import arm_order, is_swept
from harness.report.percentiles import figure_names
from harness.report.svg import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    Alternative,
    draw,
    scale_axis,
    tick_formatter,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from harness.records.schema import Observation, RunRecord
    from harness.stats.histogram import Histogram

Look = tuple[str, Literal["-", "--", ":", "-."]]
"""Colour and style of a line."""

WIDTH_IN = 6.4
_HEIGHT_IN = 2.9
_LEGEND_ROW_IN = 0.22
_LEGEND_COLUMNS = 3
_POINTS = 300
_LOOKS: tuple[Look, ...] = tuple(
    (colour, style) for style in ("--", ":", "-.") for colour in (GREEN, PURPLE, ORANGE, SKY)
)
_FIXED: dict[str, Look] = {"push": (BLUE, "-"), "polling": (RED, "-")}


def latencies(run: RunRecord, observations: Sequence[Observation]) -> dict[str, str]:
    """Return a figure for each workload that timed operations, by name; all blocks are merged.

    Raises:
        ValueError: A histogram is damaged.
    """
    found = {key: h for key, h in distributions(observations).items() if key.name == "latency"}
    order = arm_order(observations)
    figures = {}
    for workload, name in figure_names(found).items():
        lines = {key.arm: h for key, h in found.items() if key.workload == workload}
        ordered = {arm: lines[arm] for arm in sorted(lines, key=order.__getitem__)}
        figures[name] = _draw(name, workload, ordered)
    return figures


def _draw(name: str, workload: str, lines: Mapping[str, Histogram]) -> str:
    medians = (f"{arm} {quantity(h.percentile(0.5) / 1e9, 's')}" for arm, h in lines.items())
    told = Alternative(f"Distribution of latency, {workload}", f"Medians: {', '.join(medians)}")
    entries = sum(not is_swept(arm) for arm in lines) + any(is_swept(arm) for arm in lines)
    height_in = _HEIGHT_IN + _LEGEND_ROW_IN * -(-entries // _LEGEND_COLUMNS)
    return draw(name, told, height_in, lambda figure: _panel(figure, lines), width_in=WIDTH_IN)


def _looks(names: Sequence[str]) -> Mapping[str, Look]:
    """Return the look of each line: arms named after push or polling share its colour while they can."""
    looks: dict[str, Look] = {}
    others = iter(_LOOKS * (1 + len(names) // len(_LOOKS)))
    for name in names:
        stem = name.partition("_")[0]
        for look in ((_FIXED[stem][0], style) for style in ("-", "--", ":", "-.")) if stem in _FIXED else ():
            if look not in looks.values():
                looks[name] = look
                break
        else:
            looks[name] = next(others)
    return looks


def _panel(figure: Figure, lines: Mapping[str, Histogram]) -> None:
    axes = figure.add_subplot()
    swept = [name for name in lines if is_swept(name)]
    looks = _looks([name for name in lines if name not in swept])
    for name in swept:
        values_s, shares = _curve(lines[name])
        label = "sweep" if name == swept[0] else None
        axes.plot(values_s, shares, color=GREY, linewidth=0.9, drawstyle="steps-post", label=label)
    for name, (colour, style) in looks.items():
        values_s, shares = _curve(lines[name])
        axes.plot(
            values_s, shares, color=colour, linestyle=style, linewidth=1.8, drawstyle="steps-post", label=name
        )
    scale_axis(axes, "s")
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.yaxis.set_major_formatter(tick_formatter("share"))
    axes.axhline(0.5, color=INK, linewidth=0.5)
    axes.set_xlabel("latency (log scale)")
    figure.legend(loc="outside lower center", ncols=_LEGEND_COLUMNS)


def _curve(histogram: Histogram) -> tuple[np.ndarray, np.ndarray]:
    """Return at most about :data:`_POINTS` steps in s and shares, both ends among them."""
    values_ns, shares = histogram.cdf()
    step = max(1, len(values_ns) // _POINTS)
    kept = np.unique(np.append(np.arange(0, len(values_ns), step), len(values_ns) - 1))
    values_s = np.concatenate(([values_ns[0]], values_ns[kept])) / 1e9
    return np.maximum(values_s, 1e-9), np.concatenate(([0.0], shares[kept]))
