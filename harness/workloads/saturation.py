"""What a closed loop says when a poller is too busy to answer: that it is saturated."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.stacks.base import Stack, Unsupported

if TYPE_CHECKING:
    from fedbench.errors import DeadlineExceeded
    from harness.stats.histogram import Histogram

POLLER = "polling"
"""The stack whose looks alone can use up a core, so that no answer comes in time."""


class Saturated(Unsupported):
    """A poller cannot serve so many clients: the cell counts as unsupported, never as a fault or a zero."""


def unanswered(stack: Stack, clients: int, latency: Histogram, error: DeadlineExceeded) -> Exception:
    """Return what to raise for a call that was not answered in time: saturation of a poller, else the fault.

    The calls that were answered are no sample of the latency, as the slowest is not among them; they are
    told, not measured.

    Args:
        stack: What was called.
        clients: How many it has.
        latency: Of the calls that were answered, in ns.
        error: What the call raised.
    """
    if stack.name != POLLER:
        return error
    before = "none was answered before"
    if latency.count:
        half_ms = latency.percentile(0.5) / 1e6
        before = f"{latency.count} were answered before, half of them within {half_ms:.3g} ms"
    return Saturated(
        f"{POLLER} is saturated: with {clients} clients a call was not answered in time ({error}); {before}. "
        "Take fewer clients, or a longer poll_interval_s"
    )
