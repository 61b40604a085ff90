"""A comparison as one comment on a pull request, which the next one takes the place of. Pure.

Its first line is a marker that nobody sees: whoever posts it looks for a comment that begins with the same
line and changes that one, as ``scripts/sticky_comment.py`` does.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fedbench.errors import ConfigError, Problem
from harness.records.format import NOTHING, clean, quantity
from harness.report.changes import (
    bounds,
    counts,
    headline,
    margin,
    ordered,
    reliability,
    shift,
)
from harness.report.markdown import cell, escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records.schema import Change, ComparisonRecord
    from harness.report.document import Role

MOST_CHARACTERS = 65_536
"""What GitHub takes as the body of a comment."""

_CLIP = 500
_LISTED = 10
_NAME = re.compile(r"[A-Za-z0-9._]+(?:-[A-Za-z0-9._]+)*")  # no "--", which would end the marker
_COLUMNS: tuple[tuple[str, Role], ...] = (
    ("Verdict", "verdict"),
    ("Metric", "code"),
    ("Base", "number"),
    ("Candidate", "number"),
    ("Change", "number"),
    ("Margin", "number"),
    ("Why", "text"),
)


def marker(name: str) -> str:
    """Return the first line of a comment.

    Raises:
        ConfigError: The name would break it.
    """
    if not _NAME.fullmatch(name):
        message = f"{name!r} cannot name a comment: use letters, digits, dots, underscores and single hyphens"
        raise ConfigError("comment", [Problem("", message)])
    return f"<!-- fedbench:{name} -->"


def comment(record: ComparisonRecord, name: str = "") -> str:
    """Return the body of the comment: rows that changed, how often that errs, and how to reproduce it.

    What is longer than :data:`MOST_CHARACTERS` loses rows, the least important first, and says how many.

    Args:
        record: What was compared.
        name: Tells comments of several comparisons on one pull request apart; the kind if it is empty.

    Raises:
        ConfigError: The name would break the marker.
    """
    changed = ordered(record.changes, "regressed", "improved", "contaminated")
    head = [
        marker(name or record.kind),
        f"### fedbench: {_clip(headline(record))}",
        "",
        f"{tally(record.changes)}.",
        "",
        f"{_clip(record.reason)}.",
        "",
    ]
    tail = ["", *_details(record)]
    rows = [_row(change) for change in changed]
    room = MOST_CHARACTERS - sum(len(line) + 1 for line in (*head, *tail))
    shown = _table(rows, room) if rows else [_unchanged(record.changes)]
    return "\n".join([*head, *shown, *tail]) + "\n"


def tally(changes: Sequence[Change]) -> str:
    """Return how many metrics changed, did not, and are undecided, and which verdicts that counts."""
    if not changes:
        return counts(changes)
    changed = sum(change.verdict in ("regressed", "improved") for change in changes)
    same = sum(change.verdict == "unchanged" for change in changes)
    undecided = len(changes) - changed - same
    return f"**{changed} changed, {same} unchanged, {undecided} undecided** ({counts(changes)})"


def _unchanged(changes: Sequence[Change]) -> str:
    """Return what to say where no row changed: that nothing is known of some is no absence of change."""
    undecided = sum(change.verdict != "unchanged" for change in changes)
    if undecided:
        return f"Nothing decided for {undecided} of {len(changes)} metrics; the others did not change."
    return "No metric changed." if changes else "Nothing was compared."


def _table(rows: Sequence[str], room: int) -> list[str]:
    """Return the rows that fit, and what says that others do not."""
    titles = "| " + " | ".join(title for title, _ in _COLUMNS) + " |"
    rule = "| " + " | ".join("---:" if role == "number" else "---" for _, role in _COLUMNS) + " |"
    room -= len(titles) + len(rule) + 2
    kept = list(rows)
    used = sum(len(row) + 1 for row in kept)
    note: list[str] = []
    while kept and used + sum(len(line) + 1 for line in note) > room:
        used -= len(kept.pop()) + 1
        note = ["", f"**{len(rows) - len(kept)} more changed rows are cut**: the full report has them."]
    return [titles, rule, *kept, *note]


def _row(change: Change) -> str:
    interval = bounds(change)
    between = "" if interval == NOTHING else f" {interval}"
    cells = (
        change.verdict,
        f"{change.arm}/{change.workload}/{change.metric}".replace(" ", "_"),
        quantity(change.base, change.unit),
        quantity(change.candidate, change.unit),
        f"{shift(change)}{between}",
        margin(change),
        change.reason,
    )
    texts = (cell(_short(text), role) for text, (_, role) in zip(cells, _COLUMNS, strict=True))
    return f"| {' | '.join(texts)} |"


def _details(record: ComparisonRecord) -> list[str]:
    lines = [f"False alarms and detection: {_clip(reliability(record.rates))}.", ""]
    for title, items in (("Warnings", record.warnings), ("Not compared", record.not_compared)):
        if items:
            lines += [f"{title}:", "", *(f"- {_clip(item)}" for item in items[:_LISTED])]
            more = len(items) - _LISTED
            lines += [*([f"- and {more} more, in the full report"] if more > 0 else []), ""]
    how = "the same blocks" if record.paired else "stored runs"
    commit = record.environment.get("commit")
    where = f", harness at {_clip(str(commit))}" if commit else ""
    return [
        *lines,
        "<details><summary>How to reproduce</summary>",
        "",
        f"    {_short(record.command)}",
        "",
        f"Measured in {how}, {_clip(record.created_utc)}{where}.",
        "",
        "</details>",
    ]


def _short(text: str) -> str:
    """Return the beginning of a text, without reading all of one that never ends."""
    start = clean(text[: 4 * _CLIP])
    return start if len(start) <= _CLIP and len(text) <= 4 * _CLIP else f"{start[: _CLIP - 1]}…"


def _clip(text: str) -> str:
    return escape(_short(text))
