"""Figures as SVG text: the same bytes for the same data, safe to put several into one page.

Text and axes take the colour of their surroundings, so that one drawing serves light and dark pages. Text
stays text: it can be searched and copied.
"""

from __future__ import annotations

import io
import re
from html import escape
from typing import TYPE_CHECKING, Any, NamedTuple

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from harness.records.format import clean, compact

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

WIDTH_IN = 9.0
BLUE, RED, GREEN, PURPLE, ORANGE, SKY, GREY = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a929c",
)  # fmt: skip
"""Okabe and Ito's colours, which people who are colour-blind tell apart, and a grey."""

INK = "#010203"
"""Stands for the colour of the surroundings until the figure is text."""

_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
"""Characters that XML has not; an edited run may have them in its names."""

_FINE_TICKS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0)

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "fedbench",
    "text.parse_math": False,  # names may have dollars, and text stays text
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": GREY,
    "grid.alpha": 0.35,
    "grid.linewidth": 0.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "legend.frameon": False,
    **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
}


class Alternative(NamedTuple):
    """What people who do not see a figure are told.

    Attributes:
        title: What it is about.
        description: What it shows, in words and numbers.
    """

    title: str
    description: str


def draw(
    name: str,
    alternative: Alternative,
    height_in: float,
    fill: Callable[[Figure], None],
    *,
    width_in: float = WIDTH_IN,
) -> str:
    """Return a figure as an ``<svg>`` element.

    Args:
        name: Prefix of every id in it, unique in a page.
        alternative: What people who do not see it are told.
        height_in: Height in inches.
        fill: Draws into the figure.
        width_in: Width in inches.
    """
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(width_in, height_in), layout="constrained")
        fill(figure)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _embeddable(buffer.getvalue(), name, alternative)


def scale_axis(axes: Axes, unit: str) -> None:
    """Make the x axis logarithmic, its ticks quantities of ``unit``."""
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    if high < 30 * low:
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high > 4 * low else _FINE_TICKS))
    axes.xaxis.set_major_formatter(tick_formatter(unit))
    axes.xaxis.set_minor_formatter(NullFormatter())


def tick_formatter(unit: str) -> FuncFormatter:
    """Return a formatter of ticks as quantities without needless zeros."""
    return FuncFormatter(lambda value, _: compact(float(value), unit))


def _embeddable(text: str, name: str, alternative: Alternative) -> str:
    svg = _FORBIDDEN.sub("\ufffd", text[text.index("<svg") :])
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s*<defs>\s*<style[^>]*>[^<]*</style>\s*</defs>", "", svg)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace(INK, "currentColor")
    # Where there is no page around it, as in Markdown, it brings its own paper.
    style = "stroke-linejoin: round; stroke-linecap: butt; color: #1b1f24; background: #ffffff"
    title, description = (escape(clean(part), quote=True) for part in alternative)
    told = f'role="img" aria-label="{title}" aria-describedby="{name}-told"'
    start = svg.replace("<svg ", f'<svg {told} style="{style}" ', 1)
    end = start.index(">", start.index("<svg ")) + 1
    return (
        f'{start[:end]}\n <title>{title}</title>\n <desc id="{name}-told">{description}</desc>{start[end:]}'
    )
