"""Quantities for people: three significant digits, a fitting scale, always the unit."""

from __future__ import annotations

import math
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

NOTHING = "—"

_TIMES = ((1e-9, "ns"), (1e-6, "µs"), (1e-3, "ms"), (1.0, "s"))
_SIZES = tuple((1024.0**power, name) for power, name in enumerate(("B", "KiB", "MiB", "GiB", "TiB")))
_COUNTED = ("clients", "faults", "distinct")
_MINUS = "\N{MINUS SIGN}"
_TIMES_SIGN = "\N{MULTIPLICATION SIGN}"
_LARGEST = 1e308
"""Stands for whatever is larger: a percentage beyond the range of floats."""
_ZEROS = re.compile(r"(\.\d*?)0+(?!\d)")
_QUANTITY = re.compile(
    rf"(?:[<>≥≤=] )?(?P<sign>[-+{_MINUS}]?)(?:(?P<infinite>∞)|(?P<digits>\d[\d,]*(?:\.\d+)?))"
    r"(?: (?P<unit>[A-Za-zµ%]+))?"
)
_SCALES = {name: scale for scale, name in (*_TIMES, *_SIZES)} | {"%": 0.01}
_SUFFIXES = {"1/s": "/s", "1/op": "/op", "1/min": "/min"}


def quantity(value: float | None, unit: str) -> str:
    """Return a value with its unit, such as ``12.3 µs``, ``1.20 MiB`` or ``93.4 %``.

    Zero has no scale and is ``0``; None is a dash. A share below 1 is never rounded up to 100 %, and counts
    are never rounded.

    Args:
        value: What was measured, in ``unit``.
        unit: A unit of :data:`harness.records.metrics.METRICS`, ``share saved``, ``times`` or ``distinct``;
            any other is written behind the number.
    """
    if value is None or math.isnan(value):
        return NOTHING
    if math.isinf(value):
        return "∞" if value > 0 else f"{_MINUS}∞"
    if value == 0:
        return "0"
    sign = _MINUS if value < 0 else ""
    return sign + _positive(abs(float(value)), unit)


def compact(value: float | None, unit: str) -> str:
    """Return the quantity without trailing zeros, for round numbers that people chose: ``80 %``."""
    return _ZEROS.sub(lambda match: match[1].rstrip("."), quantity(value, unit), count=1)


def interval(low: float | None, high: float | None, unit: str) -> str:
    """Return ``[11.2, 13.4] µs``; a dash for the bound that is missing, and one dash alone if both are."""
    if low is None and high is None:
        return NOTHING
    bounds = [quantity(bound, unit) for bound in (low, high)]
    numbers = [bound.rstrip(_TIMES_SIGN).partition(" ")[0] for bound in bounds]
    units = [bound.removeprefix(number) for bound, number in zip(bounds, numbers, strict=True)]
    if units[0] == units[1]:
        return f"[{', '.join(numbers)}]{units[0]}"
    return f"[{', '.join(bounds)}]"


def duration(seconds: float) -> str:
    """Return a time for people: ``45 s``, ``2 min 10 s``, ``1 h 05 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def counted(number: int, what: str) -> str:
    """Return ``1 block``, ``2 blocks``."""
    return f"{number} {what}{'s' * (number != 1)}"


def clean(text: str) -> str:
    """Return text on one line, with what cannot be printed, such as a terminal's colours, replaced."""
    printable = "".join(
        "\ufffd" if unicodedata.category(c) in ("Cc", "Cs", "Cn") and not c.isspace() else c for c in text
    )
    return " ".join(printable.split())


def slugs(names: Iterable[str]) -> dict[str, str]:
    """Return for each name a text that is safe as the name of a file and in an id, and no other name's.

    Letters, digits, ``_`` and inner dots stay; whatever else becomes a dash.
    """
    made: dict[str, str] = {}
    for name in names:
        slug = base = re.sub(r"[^A-Za-z0-9_.]+|(?<![A-Za-z0-9_])[.]+|[.]+(?![A-Za-z0-9_])", "-", name)
        number = 1
        while slug in made.values():
            number += 1
            slug = f"{base}-{number}"
        made[name] = slug
    return made


def magnitude(text: str) -> float | None:
    """Return the first quantity in a text as a number in its base unit, to sort by; None where there is none.

    It is the inverse of :func:`quantity`, as far as digits were kept, and knows the sign of an increase.
    """
    match = _QUANTITY.match(text)
    if match is None:
        return None
    if match["infinite"]:
        value = math.inf
    else:
        value = float(match["digits"].replace(",", "")) * _SCALES.get(match["unit"] or "", 1.0)
    return -value if match["sign"] in ("-", _MINUS) else value


def _positive(value: float, unit: str) -> str:
    if unit in ("s", "s/op"):
        return _scaled(value, _TIMES, 1000) + unit[1:]
    if unit in ("B", "B/s", "B/min"):
        return _scaled(value, _SIZES, 1024) + unit[1:]
    if unit in ("share", "share saved"):
        return f"{_percent(value)} %"
    if unit in _COUNTED:
        return f"{value:,.0f} {unit}" if value.is_integer() else f"{_digits(value)} {unit}"
    if unit == "times":
        return f"{_digits(value)}{_TIMES_SIGN}"
    return f"{_digits(value)} {_SUFFIXES.get(unit, unit)}".rstrip()


def _scaled(value: float, scales: Sequence[tuple[float, str]], limit: int) -> str:
    """Return the value in the first scale in which it stays below ``limit`` as rounded, else in the last."""
    scale, name = next((s for s in scales if max(value / s[0], _round(value / s[0])) < limit), scales[-1])
    if name == "B" and float(value).is_integer():
        return f"{value:.0f} B"
    return f"{_digits(value / scale)} {name}"


def _percent(share: float) -> str:
    percent = min(share * 100, _LARGEST)
    if percent < 10 or percent >= 1000:
        return _digits(percent)
    if not 99 < percent < 100:
        return f"{percent:.1f}" if percent != 100 else "100"
    decimals = next(d for d in range(1, 17) if round(percent, d) < 100 or d == 16)
    return f"{percent:.{max(decimals, 2)}f}"


def _digits(value: float) -> str:
    rounded = _round(value)
    decimals = max(0, 2 - math.floor(math.log10(rounded)))
    return f"{rounded:,.{min(decimals, 12)}f}"


def _round(value: float) -> float:
    return float(f"{value:.2e}")
