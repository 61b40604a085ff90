"""Confirm what a comparison suspects: by a fresh batch, or by either half of a stored run. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from harness.regression.changes import CONFIRM, compare, key_of, suspected
from harness.regression.verdict import evidence

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from harness.records.schema import Change
    from harness.regression.margins import Margin
    from harness.regression.stored import Values
    from harness.regression.verdict import Key, Sides

FRESH, HALF = "a fresh batch", "each half"
"""Who says the same of what was suspected."""


def confirmed(
    first: Sequence[Change],
    second: Mapping[Key, Sides],
    margins: Mapping[str, Margin],
) -> list[Change]:
    """Return the first batch's changes; suspicions that the second does not share are ``inconclusive``.

    Args:
        first: As compared.
        second: Samples of a fresh batch. Only what was suspected is tested on them, so that a suspicion is
            not held against metrics that nobody suspects.
        margins: As for the first batch.
    """
    keys = {key_of(change) for change in suspected(first)}
    tested = compare({key: sides for key, sides in second.items() if key in keys}, margins, alpha=CONFIRM)
    again = {key_of(change): change for change in tested}
    return [_confirmed(change, again.get(key_of(change)), FRESH) for change in first]


def halved(
    sides: Mapping[Key, Sides],
    blocks: Mapping[Key, Values],
    steps: Sequence[int],
    margins: Mapping[str, Margin],
) -> list[Change]:
    """Compare a stored run with another; each half of its blocks has to confirm what all of them say.

    All blocks together are what the level is for. A half confirms by its centre, which has to lie beyond the
    margin as well: that tells what lasted from what passed, and costs little power where blocks are few.

    Args:
        sides: All samples.
        blocks: Those of the candidate, by block.
        steps: Blocks of the candidate, in order.
        margins: What matters.
    """

    def of(half: Sequence[int]) -> dict[Key, Sides]:
        taken = {key: [blocks[key][b] for b in half if b in blocks[key]] for key in sides}
        return {key: sides[key]._replace(candidate=values) for key, values in taken.items() if values}

    changes, middle = compare(sides, margins), len(steps) // 2
    for half in (steps[:middle], steps[middle:]):
        samples = of(half)
        centres = {key_of(change): _centre(change, samples, margins) for change in suspected(changes)}
        changes = [_confirmed(change, centres.get(key_of(change)), HALF) for change in changes]
    return changes


def _centre(change: Change, samples: Mapping[Key, Sides], margins: Mapping[str, Margin]) -> Change | None:
    """Return a change as half of the blocks show it by its centre, None if they did not measure it."""
    key = key_of(change)
    if key not in samples:
        return None
    found = evidence(key, samples[key], margins[key.metric])
    beyond = {"regressed": found.estimate.value, "improved": -found.estimate.value}[change.verdict]
    return change if beyond > found.beyond else replace(change, verdict="inconclusive")


def _confirmed(change: Change, again: Change | None, by: str) -> Change:
    if change.verdict not in ("regressed", "improved"):
        return change
    if again is not None and again.verdict == change.verdict:
        same = f"; {by} says the same"
        return replace(change, p=max(change.p, again.p), reason=change.reason.removesuffix(same) + same)
    said = "did not measure it" if again is None else f"says {again.verdict}"
    where = "in one batch, and a fresh one" if by == FRESH else "in all blocks, and half of them"
    return replace(change, verdict="inconclusive", reason=f"{change.verdict} {where} {said}")
