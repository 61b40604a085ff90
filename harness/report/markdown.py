"""The report as GitHub-flavoured Markdown. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from harness.records.format import clean
from harness.report.document import Bullets, Figure, Links, Paragraph, Part, Picture, Role, Section, Table
from harness.report.material import NOTHING_BESIDE, Material
from harness.report.sections import headline, sections

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.records.schema import RunRecord

_SPECIAL = re.compile(
    r"[\\`*|<~$]|\](?=[(\[:])"
    r"|&(?=#?\w+;)"  # an entity
    r"|(?<![^\W_])_|_(?![^\W_])"  # not within a name, where it stays readable
    r"|^(?:[#>]|[-+](?=\s|$)|\[(?=[ xX]\])|[-=](?=[-=]*$))"  # what makes a line a heading, a list or a rule
)
_ENUMERATED = re.compile(r"^(\d{1,9})(?=[.)](?:\s|$))")
_CALLS = re.compile(r"(?<!\w)@(?=\w)|#(?=\d)")
_APART = "&#8203;"
"""A space without width: a backslash does not keep GitHub from calling a person or linking an issue."""
_CODE = re.compile(r"[^\s`|\\]+")


def markdown(run: RunRecord, plots: Mapping[str, str], material: Material = NOTHING_BESIDE) -> str:
    """Return the report.

    Args:
        run: What was recorded.
        plots: Name of each plot to its path, relative to the report.
        material: What lies beside the record.

    Raises:
        ValueError: A histogram is damaged.
    """
    return document(headline(run), sections(run, tuple(plots), material), plots)


def document(title: str, content: Sequence[Section], plots: Mapping[str, str]) -> str:
    """Return any document of sections; plots as for :func:`markdown`."""
    blocks = [f"# {escape(title)}"]
    for section in content:
        blocks += _section(section, plots)
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """Return plain text as Markdown that shows it, on one line, and calls nobody."""
    shown = _ENUMERATED.sub(r"\1\\", _SPECIAL.sub(r"\\\g<0>", clean(text)))
    return _CALLS.sub(rf"\g<0>{_APART}", shown)


def cell(text: str, role: Role) -> str:
    """Return plain text as a cell of a table, each of its lines on a line of its own."""
    first, *more = text.splitlines() or [""]
    return "<br>".join([_cell_line(first, role), *(escape(line) for line in more)])


def _cell_line(text: str, role: Role) -> str:
    if role == "verdict" and text != "pass":
        return f"**{escape(text)}**"
    return f"`{text}`" if role == "code" and _CODE.fullmatch(text) else escape(text)


def _section(section: Section, plots: Mapping[str, str]) -> list[str]:
    heading = f"{'#' * section.level} {escape(section.title)}"
    return [heading, *(_part(part, plots) for part in section.parts)]


def _part(part: Part, plots: Mapping[str, str]) -> str:
    match part:
        case Paragraph(text):
            return escape(text)
        case Bullets(items):
            return "\n".join(f"- {escape(item)}" for item in items)
        case Links(items):
            return "\n".join(f"- [{escape(path)}]({quote(path)}): {escape(what)}" for path, what in items)
        case Figure(name, caption):
            return f"![{name}]({plots[name]})\n\n*{escape(caption)}*"
        case Picture(path, title):
            return f"[{escape(title)}]({quote(path)})"
        case Table():
            return _table(part)


def _table(table: Table) -> str:
    rule = ["---:" if role == "number" else "---" for _, role in table.columns]
    rows = [[escape(title) for title, _ in table.columns], rule]
    rows += [
        [cell(text, role) for text, (_, role) in zip(row, table.columns, strict=True)] for row in table.rows
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
