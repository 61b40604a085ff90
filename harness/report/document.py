"""A report before it has a format: sections made of paragraphs, lists, tables and figures."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from collections.abc import Sequence

Role = Literal["text", "number", "code", "verdict", "promise"]


@dataclass(frozen=True, slots=True)
class Paragraph:
    """A paragraph of plain text."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclass(frozen=True, slots=True)
class Bullets:
    """A list of plain text."""

    kind: ClassVar[str] = "bullets"
    items: Sequence[str]


@dataclass(frozen=True, slots=True)
class Links:
    """Files beside the report: path and what is in it."""

    kind: ClassVar[str] = "links"
    items: Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Table:
    """A table of plain text. Lines of a cell after its first are secondary: an interval, a note.

    Attributes:
        columns: Title and role of each column.
        rows: As many cells each as there are columns.
        stacked: Whether a narrow screen shows each row as a block of lines, so that nothing lies outside.
    """

    kind: ClassVar[str] = "table"
    columns: Sequence[tuple[str, Role]]
    rows: Sequence[Sequence[str]]
    stacked: bool = False


@dataclass(frozen=True, slots=True)
class Figure:
    """A plot by name, with what it shows."""

    kind: ClassVar[str] = "figure"
    name: str
    caption: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that lies beside the report, and may be put into it.

    Attributes:
        path: Where it lies, relative to the report.
        title: What it shows.
        svg: The picture itself.
    """

    kind: ClassVar[str] = "picture"
    path: str
    title: str
    svg: bytes

    @property
    def address(self) -> str:
        """The picture as an address by which a page needs nothing but itself."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg).decode()}"


Part = Paragraph | Bullets | Links | Table | Figure | Picture


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what is below it.

    Attributes:
        level: 2 for a section, 3 for one inside it.
        folded: Whether a page shows its heading only, and the rest when asked.
        hint: What a reader who does not unfold it should know, in a few words.
    """

    title: str
    parts: Sequence[Part]
    level: int = 2
    folded: bool = False
    hint: str = ""
