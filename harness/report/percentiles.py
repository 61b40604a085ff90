"""The tail of every cell: percentiles of single operations, all blocks together. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.records.distributions import PERCENTILES, Distribution, percentiles_s
from harness.records.format import quantity, slugs
from harness.report.arms import arm_order
from harness.report.document import Paragraph, Part, Role, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from harness.report.material import Material

_NAMES = {"intended": "from the intended time", "lag": "lag of the generator"}
_COLUMNS: tuple[tuple[str, Role], ...] = (
    ("Arm", "code"),
    ("Of", "text"),
    ("Operations", "number"),
    *((f"p{p * 100:g}" if p < 1 else "largest", "number") for p in PERCENTILES),
)


def figure_names(found: Iterable[Distribution]) -> Mapping[str, str]:
    """Return the name of the figure that shows each workload's latencies, safe for files and ids."""
    workloads = dict.fromkeys(key.workload for key in found if key.name == "latency")
    return {name: f"latency-{slug}" for name, slug in slugs(sorted(workloads)).items()}


def percentiles(workload: str, material: Material) -> list[Part]:
    """Return a table with a row for each distribution of a workload; nothing without any."""
    keys = [key for key in material.distributions if key.workload == workload]
    order = arm_order(material.observations)
    rows = []
    for key in sorted(keys, key=lambda key: order[key.arm]):
        histogram = material.distributions[key]
        values = (quantity(value, "s") for value in percentiles_s(histogram).values())
        rows.append((key.arm, _NAMES.get(key.name, key.name), f"{histogram.count:,}", *values))
    if not rows:
        return []
    text = (
        "Single operations, all blocks together; a dash where fewer than 5 of them lie beyond a percentile."
    )
    return [Paragraph(text), Table(_COLUMNS, rows)]
