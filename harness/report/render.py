"""The report of a run as files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.records.store import write_atomically
from harness.report.flames import MOST_BYTES
from harness.report.html import html
from harness.report.junit import junit
from harness.report.markdown import markdown
from harness.report.material import FILES, Material
from harness.report.plots import plots

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness.records.schema import Observation, Rates, RunRecord

PLOTS = "plots"
LOGS = "logs"
PROFILES = "profiles"


def render(
    run: RunRecord, observations: Sequence[Observation], folder: Path, rates: Rates | None = None
) -> list[Path]:
    """Write ``report.html``, ``report.md``, ``junit.xml`` and ``plots/*.svg``.

    Each file is written atomically, and the same input gives the same bytes. A plot that an earlier report
    had and this one has not is removed.

    Args:
        run: What was recorded.
        observations: All of its observations.
        folder: The run's folder, which exists.
        rates: How often comparisons err on this class of machines, None where that was not calibrated.

    Returns:
        The files, the page first.

    Raises:
        ValueError: A histogram is damaged; nothing was written.
    """
    material = Material(observations, files_in(folder), rates, flames_in(folder))
    svgs = plots(run, observations)
    files = {
        "report.html": html(run, svgs, material),
        "report.md": markdown(run, {name: f"{PLOTS}/{name}.svg" for name in svgs}, material),
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


def flames_in(folder: Path) -> list[tuple[str, bytes | None]]:
    """Return the flame graphs in a run's folder, without the pictures beyond what a page may hold."""
    found: list[tuple[str, bytes | None]] = []
    room = MOST_BYTES
    for path in _profiles(folder):
        svg = path.read_bytes() if path.stat().st_size <= room else None
        room -= len(svg or b"")
        found.append((f"{PROFILES}/{path.name}", svg))
    return found


def files_in(folder: Path) -> list[tuple[str, str]]:
    """Return the files of a run's folder that its report links to, and what is in each."""
    found = [(name, what) for name, what in FILES if name == "junit.xml" or (folder / name).is_file()]
    if (folder / LOGS).is_dir():
        found.append((f"{LOGS}/", "output of the measured processes"))
    what = "where the time went, as a flame graph"
    return found + [(f"{PROFILES}/{path.name}", what) for path in _profiles(folder)]


def _profiles(folder: Path) -> list[Path]:
    return sorted(path for path in (folder / PROFILES).glob("*.svg") if path.is_file())
