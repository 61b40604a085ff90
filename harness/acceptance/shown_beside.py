"""What stands beside a criterion in its row: milder baselines, other workloads, other sizes. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from harness.acceptance.estimate import Undecidable, bounds, estimate, holds, single
from harness.records.format import compact
from harness.records.schema import Beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness.acceptance.criteria import Criterion
    from harness.acceptance.samples import Samples
    from harness.stats.paired import Estimate


def besides(c: Criterion, samples: Samples, *, confidence: float) -> list[Beside]:
    """Return everything that stands beside a criterion, with intervals at one confidence.

    Args:
        c: The criterion.
        samples: The run's observations.
        confidence: One-sided, of each bound.
    """
    made = []
    for what in c.beside:
        found, reason = None, ""
        part = single(c, samples, what)
        if not part.blocks:
            reason = f"{part.what} was not measured in a quiet block"
        else:
            try:
                found = estimate(c, part, confidence)
            except Undecidable as error:
                reason = str(error)
        bounded = found is not None and math.isfinite(found.high)
        made.append(
            Beside(
                label=what.label,
                value=None if found is None else found.value,
                ci_low=found.low if found is not None and bounded else None,
                ci_high=found.high if found is not None and bounded else None,
                n=0 if found is None else found.n,
                reason=reason,
            )
        )
    return made


def holds_from(c: Criterion, decided: Estimate | None, beside: Sequence[Beside]) -> str:
    """Return from which size on a criterion's target holds, empty for one that has no sizes.

    A size whose interval is not known is taken by its value.
    """
    if not c.along or decided is None:
        return ""
    mine = float(c.workload.partition("@")[2])
    sizes = {mine: holds(c, bounds(c, decided)[0] if math.isfinite(decided.high) else decided.value)}
    for what, found in zip(c.beside, beside, strict=True):
        if what.point is not None and found.value is not None:
            worse = found.ci_low if c.kind == "reduction" else found.ci_high
            sizes[what.point] = holds(c, found.value if worse is None else worse)
    first = None
    for size in sorted(sizes, reverse=True):
        if not sizes[size]:
            break
        first = size
    unit = "B" if c.along.endswith("bytes") else ""
    if first is None:
        return f"holds at no size of {c.along} that was measured"
    return f"holds from {compact(first, unit)} on"
