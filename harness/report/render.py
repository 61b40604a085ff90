"""The report of a run as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.records.store import write_atomically
from harness.report.html import html
from harness.report.junit import junit
from harness.report.markdown import markdown
from harness.report.plots import plots

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.records.schema import Observation, RunRecord

PLOTS = "plots"


def render(run: RunRecord, observations: Sequence[Observation], folder: Path) -> list[Path]:
    """Write ``report.html``, ``report.md``, ``junit.xml`` and ``plots/*.svg``.

    Each file is written atomically, and the same input gives the same bytes. A plot that an earlier report
    had and this one has not is removed.

    Args:
        run: What was recorded.
        observations: All of its observations.
        folder: The run's folder, which exists.

    Returns:
        The files, the page first.
    """
    svgs = plots(run, observations)
    files = {
        "report.html": html(run, svgs),
        "report.md": markdown(run, {name: f"{PLOTS}/{name}.svg" for name in svgs}),
        "junit.xml": junit(run),
        **{f"{PLOTS}/{name}.svg": svg for name, svg in svgs.items()},
    }
    (folder / PLOTS).mkdir(exist_ok=True)
    for stale in (folder / PLOTS).glob("*.svg"):
        if stale.stem not in svgs:
            stale.unlink()
    for name, text in files.items():
        write_atomically(folder / name, text.encode())
    return [folder / name for name in files]
