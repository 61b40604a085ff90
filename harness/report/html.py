"""The report as one self-contained HTML page: no scripts, nothing fetched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined

from harness.report.format import clean
from harness.report.sections import headline, sections

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness.records.schema import RunRecord


def html(run: RunRecord, svgs: Mapping[str, str]) -> str:
    """Return the report.

    Args:
        run: What was recorded.
        svgs: Name of each plot to its ``<svg>`` element, as :func:`harness.report.plots.plots` returns them:
            it is put into the page as it is.
    """
    environment = Environment(
        loader=PackageLoader("harness.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["clean"] = clean
    return environment.get_template("report.html.j2").render(
        run=run,
        headline=headline(run),
        sections=sections(run, tuple(svgs)),
        svgs=svgs,
    )
