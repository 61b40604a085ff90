"""Plots of latency: the whole distribution of each arm."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from matplotlib.lines import Line2D

from harness.report.arms import is_swept
from harness.report.svg import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    draw,
    scale_axis,
    tick_formatter,
)
from harness.stats.histogram import Histogram

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from harness.records.schema import Observation, RunRecord

Look = tuple[str, Literal["-", "--", ":", "-."]]
"""Colour and style of a line."""

_COLUMNS = 2
_ROW_IN = 2.7
_POINTS = 300
_LOOKS: tuple[Look, ...] = tuple(
    (colour, style) for style in ("--", ":", "-.") for colour in (GREEN, PURPLE, ORANGE, SKY)
)

Panels = dict[str, dict[str, Histogram]]


def latency(run: RunRecord, observations: Sequence[Observation]) -> str | None:
    """Return the distributions of latency of each workload, all blocks merged; None without any."""
    panels = _panels(observations)
    if not panels:
        return None
    height_in = 0.7 + _ROW_IN * -(-len(panels) // _COLUMNS)
    return draw("latency", "Distributions of latency", height_in, lambda figure: _fill(figure, panels))


def _panels(observations: Sequence[Observation]) -> Panels:
    """Return line by line the merged histograms of each panel; all floors share one, a line for each loop."""
    panels: Panels = {}
    for o in observations:
        data = o.histograms.get("latency")
        if data is None or not data["count"]:
            continue
        panel, line = ("floors", f"{o.workload} {o.loop}") if o.kind == "floor" else (o.workload, o.arm)
        panels.setdefault(panel, {}).setdefault(line, Histogram()).merge(Histogram.from_dict(data))
    return {name: panels[name] for name in sorted(panels, key=lambda name: (name == "floors", name))}


def _looks(names: Sequence[str]) -> Mapping[str, Look]:
    fixed: dict[str, Look] = {
        "push": (BLUE, "-"),
        "polling": (RED, "-"),
        "push_process": (BLUE, "--"),
        "polling_process": (RED, "--"),
    }
    others = [name for name in names if name not in fixed and not is_swept(name)]
    looks = {name: _LOOKS[i % len(_LOOKS)] for i, name in enumerate(others)}
    return {**{name: look for name, look in fixed.items() if name in names}, **looks}


def _fill(figure: Figure, panels: Panels) -> None:
    names = sorted({line for lines in panels.values() for line in lines})
    looks = _looks(names)
    rows = -(-len(panels) // _COLUMNS)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axes, (panel, lines) in zip(grid.flat, panels.items(), strict=False):
        _panel(axes, panel, lines, looks)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    handles = [
        Line2D([], [], color=c, linestyle=s, linewidth=1.8, label=name) for name, (c, s) in looks.items()
    ]
    if any(is_swept(name) for name in names):
        handles.append(Line2D([], [], color=GREY, linewidth=0.9, label="sweep"))
    figure.legend(handles=handles, loc="outside lower center", ncols=min(len(handles), 5))


def _panel(axes: Axes, title: str, lines: Mapping[str, Histogram], looks: Mapping[str, Look]) -> None:
    for name in sorted(lines, key=lambda name: (not is_swept(name), name)):
        values_s, shares = _curve(lines[name])
        if is_swept(name):
            axes.plot(values_s, shares, color=GREY, linewidth=0.9, drawstyle="steps-post")
        else:
            colour, style = looks[name]
            axes.plot(values_s, shares, color=colour, linestyle=style, linewidth=1.8, drawstyle="steps-post")
    scale_axis(axes, "s")
    axes.set_title(title, loc="left")
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    axes.yaxis.set_major_formatter(tick_formatter("share"))
    axes.axhline(0.5, color=INK, linewidth=0.5)


def _curve(histogram: Histogram) -> tuple[np.ndarray, np.ndarray]:
    """Return at most about :data:`_POINTS` steps in s and shares, both ends among them."""
    values_ns, shares = histogram.cdf()
    step = max(1, len(values_ns) // _POINTS)
    kept = np.unique(np.append(np.arange(0, len(values_ns), step), len(values_ns) - 1))
    values_s = np.concatenate(([values_ns[0]], values_ns[kept])) / 1e9
    return np.maximum(values_s, 1e-9), np.concatenate(([0.0], shares[kept]))
