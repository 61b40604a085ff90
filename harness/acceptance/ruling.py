"""What is known of a criterion at one moment of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from harness.records.schema import Verdict
    from harness.stats.paired import Estimate


class Ruling(NamedTuple):
    """What follows from the blocks so far.

    Attributes:
        verdict: The verdict if it is final; None while more blocks can change it.
        reason: Why, with numbers; of one that is not final, what it lacks.
        estimate: The estimate, None where there is none yet.
        needs: Further blocks that it waits for, 0 if it is final.
        shaky: Whether what speaks against a decision is the machine, not the number of blocks.
    """

    verdict: Verdict | None
    reason: str
    estimate: Estimate | None = None
    needs: int = 0
    shaky: bool = False
