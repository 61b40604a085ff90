"""The report as one self-contained HTML page: nothing is fetched, and it works without its script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.records.format import clean, magnitude, slugs
from harness.report.material import NOTHING_BESIDE, Material
from harness.report.promises import verdict_of
from harness.report.sections import headline, sections

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.records.schema import RunRecord
    from harness.report.document import Section


def html(run: RunRecord, svgs: Mapping[str, str], material: Material = NOTHING_BESIDE) -> str:
    """Return the report.

    Args:
        run: What was recorded.
        svgs: Name of each plot to its ``<svg>`` element, as :func:`harness.report.plots.plots` returns them:
            it is put into the page as it is.
        material: What lies beside the record.

    Raises:
        ValueError: A histogram is damaged.
    """
    return page(headline(run), run.verdict, sections(run, tuple(svgs), material), svgs)


def page(title: str, verdict: str, content: Sequence[Section], svgs: Mapping[str, str]) -> str:
    """Return any document of sections as a page in the colour of its verdict; plots as for :func:`html`."""
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    anchors = slugs(section.title for section in content)
    environment.filters.update(
        clean=clean, magnitude=magnitude, verdict_of=verdict_of, anchor=anchors.__getitem__
    )
    return environment.get_template("report.html.j2").render(
        verdict=verdict,
        headline=title,
        sections=content,
        groups=_groups(content),
        svgs=svgs,
    )


def _groups(content: Sequence[Section]) -> list[list[Section]]:
    """Return each section with those inside it, which are folded with it."""
    groups: list[list[Section]] = []
    for section in content:
        if section.level > 2 and groups:
            groups[-1].append(section)
        else:
            groups.append([section])
    return groups
