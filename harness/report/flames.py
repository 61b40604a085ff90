"""The flame graphs of a profiled run. Pure."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from harness.records.format import quantity
from harness.report.document import Bullets, Paragraph, Part, Picture, Section

if TYPE_CHECKING:
    from harness.report.material import Material

MOST_BYTES = 2 << 20
"""A page holds so much of flame graphs, so that it stays one that can be sent and opened."""


def flame_graphs(material: Material) -> list[Section]:
    """Return one section with a picture for each flame graph; none without any."""
    if not material.flames:
        return []
    text = (
        "Where the time of each arm went in block 1, by py-spy: the wider a frame, the longer it ran, with "
        "what it called. The files themselves can be searched, and zoomed into."
    )
    parts: list[Part] = [Paragraph(text)]
    parts += [
        Picture(path, f"Flame graph of {PurePosixPath(path).stem}", svg)
        for path, svg in material.flames
        if svg is not None
    ]
    left_out = [path for path, svg in material.flames if svg is None]
    if left_out:
        limit = quantity(MOST_BYTES, "B")
        parts += [
            Paragraph(f"Left out, as all together would take more than {limit} of the page; see Files:"),
            Bullets(left_out),
        ]
    return [Section("Flame graphs", parts)]
