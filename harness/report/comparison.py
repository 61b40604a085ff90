"""A comparison in the format that its reader wants: a person, a program, or continuous integration. Pure."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal, get_args

import msgspec
from rich.console import Console

from fedbench.errors import ConfigError, Problem
from harness.report.annotations import workflow_commands
from harness.report.changes import headline, sections, verdict_line
from harness.report.changes_junit import changes_junit
from harness.report.changes_text import changes_table
from harness.report.comment import comment
from harness.report.html import page
from harness.report.markdown import document

if TYPE_CHECKING:
    from collections.abc import Callable

    from harness.records.schema import ComparisonRecord

Format = Literal["text", "json", "md", "html", "junit", "github", "comment"]
FORMATS: tuple[Format, ...] = get_args(Format)

TEXT_COLUMNS = 1000
"""Wide enough that no line is broken: what reads it may want whole lines."""


def render_comparison(record: ComparisonRecord, format: str) -> str:
    """Return a comparison as text that ends with a line break.

    Args:
        record: What was compared.
        format: ``text`` for terminals and logs, ``json`` for programs, ``md`` and ``html`` as documents,
            ``junit`` as test cases, ``github`` as annotations of a workflow, ``comment`` as the body of a
            comment on a pull request. The same record gives the same text.

    Raises:
        ConfigError: There is no such format.
    """
    render = _RENDERERS.get(format)
    if render is None:
        message = f"there is no format {format!r}: use one of {', '.join(FORMATS)}"
        raise ConfigError("--format", [Problem("", message)])
    return render(record)


def _text(record: ComparisonRecord) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=TEXT_COLUMNS, color_system=None, force_terminal=False)
    console.print(changes_table(record))
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    return "\n".join([*lines, verdict_line(record)]) + "\n"


def _json(record: ComparisonRecord) -> str:
    return msgspec.json.format(msgspec.json.encode(record), indent=1).decode() + "\n"


def _md(record: ComparisonRecord) -> str:
    return document(headline(record), sections(record), {})


def _html(record: ComparisonRecord) -> str:
    return page(headline(record), record.verdict, sections(record), {})


_RENDERERS: dict[str, Callable[[ComparisonRecord], str]] = {
    "text": _text,
    "json": _json,
    "md": _md,
    "html": _html,
    "junit": changes_junit,
    "github": workflow_commands,
    "comment": comment,
}
