"""What a comparison could have found where it decided nothing. Pure."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from harness.regression.margins import steady

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.records.schema import Change

BAR = 1.0
"""Share of the base: a metric that decides must have become no worse than this without being found."""
BAR_MARGINS = 10.0
"""The same where differences are compared, in margins."""


def undecided(changes: Sequence[Change]) -> list[Change]:
    """Return the metrics of which nothing was decided."""
    return [change for change in changes if change.verdict in ("inconclusive", "contaminated")]


def blind(changes: Sequence[Change]) -> list[Change]:
    """Return the undecided metrics that decide whether a comparison had the power it needs, and lacked it.

    Those are the steady ones (:func:`harness.regression.margins.steady`): counts, sizes, and times as
    multiples of a floor of the same moment. Other times follow the machine: what they can show is told.
    """
    return [change for change in undecided(changes) if steady(change.metric) and not _strong(change)]


def power_text(changes: Sequence[Change]) -> str:
    """Return what would have been found in the undecided metrics, empty where all are decided.

    ``nothing decided for 54 of 102; a change of 35% or more would have been found in 27 of them``.
    """
    open_ones = undecided(changes)
    if not open_ones:
        return ""
    shares = sorted(c.detectable for c in open_ones if c.ratio is not None and c.detectable is not None)
    text = f"nothing decided for {len(open_ones)} of {len(changes)}"
    if shares:
        median = statistics.median_high(shares)
        count = sum(share <= median for share in shares)
        text += f"; a change of {median:.0%} or more would have been found in {count} of them"
        doubled = sum(share <= BAR for share in shares)
        if doubled > count:
            text += f", one of {BAR:.0%} in {doubled}"
    few = sum(change.detectable is None for change in open_ones)
    return text + (f"; {few} have too few samples for any" if few else "")


def _strong(change: Change) -> bool:
    """Whether a change that is large would have been found."""
    if change.detectable is None:
        return False
    return change.detectable <= (BAR if change.ratio is not None else BAR_MARGINS * change.margin)
