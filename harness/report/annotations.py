"""A comparison as annotations of a GitHub workflow. Pure.

Source: GitHub, *Workflow commands for GitHub Actions*: ``::error title=TITLE::MESSAGE``, with percent signs
and line ends escaped, in properties colons and commas too. Of one step GitHub shows 10 of each level.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.records.format import clean
from harness.report.changes import counts, name, ordered, reliability, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records.schema import Change, ComparisonRecord

SHOWN = 10
"""Annotations of one level that GitHub shows of a step."""

_MESSAGE = (("%", "%25"), ("\r", "%0D"), ("\n", "%0A"))
_PROPERTY = (*_MESSAGE, (":", "%3A"), (",", "%2C"))


def workflow_commands(record: ComparisonRecord) -> str:
    """Return a command a line: the verdict first, then what regressed, could not be told, and improved."""
    level = {0: "notice", 1: "error"}.get(record.exit_code, "warning")
    told = f"{record.reason}. {counts(record.changes)}. {reliability(record.rates)}."
    groups = (
        ("error", ordered(record.changes, "regressed")),
        ("warning", ordered(record.changes, "contaminated", "inconclusive")),
        ("notice", ordered(record.changes, "improved")),
    )
    lines = [command(level, f"fedbench {record.kind}: {record.verdict}", told)]
    for group, changes in groups:
        room = SHOWN - (group == level)
        if group == "warning":
            room -= min(len(record.warnings), SHOWN // 2)
        lines += _changes(group, changes, room)
    lines += [command("warning", "fedbench", text) for text in record.warnings[: SHOWN // 2]]
    return "".join(f"{line}\n" for line in lines)


def command(level: str, title: str, message: str) -> str:
    """Return a workflow command, which neither title nor message can break."""
    return f"::{level} title={_escape(clean(title), _PROPERTY)}::{_escape(clean(message), _MESSAGE)}"


def _changes(level: str, changes: Sequence[Change], room: int) -> list[str]:
    """Return a command for each change, or for as many as are shown and one that names the others."""
    shown = changes if len(changes) <= room else changes[: room - 1]
    lines = [command(level, f"{change.verdict}: {name(change)}", summary(change)) for change in shown]
    rest = changes[len(shown) :]
    if rest:
        listed = "; ".join(f"{name(change)} {change.verdict}" for change in rest)
        lines.append(command(level, f"{len(rest)} more", listed))
    return lines


def _escape(text: str, table: Sequence[tuple[str, str]]) -> str:
    for character, code in table:
        text = text.replace(character, code)
    return text
