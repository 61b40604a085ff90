import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records.format import (
    NOTHING,
    clean,
    compact,
    counted,
    duration,
    interval,
    magnitude,
    quantity,
    slugs,
)
from harness.records.metrics import METRICS

MINUS, TIMES = "\N{MINUS SIGN}", "\N{MULTIPLICATION SIGN}"
UNITS = sorted({metric.unit for metric in METRICS.values()} | {"share saved", "times", "distinct", ""})
SCALES = {"ns": 1e-9, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
SIZES = {"B": 1.0, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30, "TiB": 2.0**40}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "s", NOTHING),
        (math.nan, "s", NOTHING),
        (math.inf, "s", "∞"),
        (-math.inf, "s", f"{MINUS}∞"),
        (0, "s", "0"),
        (0.0, "share", "0"),
        (12.34e-6, "s", "12.3 µs"),
        (4.5612e-3, "s", "4.56 ms"),
        (999.6e-6, "s", "1.00 ms"),
        (7e-9, "s", "7.00 ns"),
        (1234.5, "s", "1,230 s"),
        (12.3e-6, "s/op", "12.3 µs/op"),
        (512.0, "B", "512 B"),
        (95.7, "B/s", "95.7 B/s"),
        (1.2 * 2**20, "B", "1.20 MiB"),
        (1023.9 * 2**10, "B", "1,020 KiB"),
        (1024 * 2**10, "B", "1.00 MiB"),
        (4096.0, "B/s", "4.00 KiB/s"),
        (-3 * 2.0**20, "B/min", f"{MINUS}3.00 MiB/min"),
        (1.5, "1/min", "1.50 /min"),
        (0.934, "share", "93.4 %"),
        (0.99964, "share saved", "99.96 %"),
        (0.999999, "share", "99.9999 %"),
        (1 - 2**-53, "share", "99.99999999999999 %"),
        (1.0, "share", "100 %"),
        (0.0123, "share", "1.23 %"),
        (-0.45, "share saved", f"{MINUS}45.0 %"),
        (-12.0, "share saved", f"{MINUS}1,200 %"),
        (1.234, "times", f"1.23{TIMES}"),
        (0.000456, "cores", "0.000456 cores"),
        (12345.6, "1/s", "12,300 /s"),
        (2.5, "1/op", "2.50 /op"),
        (1234.0, "clients", "1,234 clients"),
        (1, "distinct", "1 distinct"),
        (1.5, "faults", "1.50 faults"),
        (3.0, "", "3.00"),
        (1e308, "share", f"{1e308:,.0f} %"),
    ],
)
def test_a_quantity_has_three_digits_a_fitting_scale_and_its_unit(value, unit, text):
    assert quantity(value, unit) == text


@given(st.floats(1e-12, 1e12), st.sampled_from(UNITS))
def test_a_negative_quantity_is_the_positive_one_with_a_sign(value, unit):
    assert quantity(-value, unit) == MINUS + quantity(value, unit)


@given(st.floats(1e-9, 1e6))
def test_a_duration_can_be_read_back_within_its_digits(value_s):
    number, unit = quantity(value_s, "s").split()
    assert float(number.replace(",", "")) * SCALES[unit] == pytest.approx(value_s, rel=6e-3)


@given(st.floats(1.0, 1e15))
def test_a_size_can_be_read_back_within_its_digits(value_bytes):
    number, unit = quantity(value_bytes, "B").split()
    assert float(number.replace(",", "")) * SIZES[unit] == pytest.approx(value_bytes, rel=6e-3)


@given(st.floats(0.0, 1.0, exclude_max=True))
def test_what_is_not_everything_is_never_shown_as_everything(share):
    assert quantity(share, "share") != "100 %"


@given(st.floats(-1e12, 1e12), st.sampled_from(UNITS))
def test_compact_drops_zeros_and_nothing_else(value, unit):
    full, short = quantity(value, unit), compact(value, unit)
    number, shorter = (re.match(r"[\d.,]*", text.lstrip(MINUS))[0].replace(",", "") for text in (full, short))
    assert float(number) == float(shorter)
    assert len(short) <= len(full)


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.8, "share", "80 %"),
        (0.01, "s", "10 ms"),
        (1.5, "times", f"1.5{TIMES}"),
        (100.0, "", "100"),
        (0, "s", "0"),
    ],
)
def test_round_numbers_are_short(value, unit, text):
    assert compact(value, unit) == text


@pytest.mark.parametrize(
    ("low", "high", "unit", "text"),
    [
        (None, None, "s", NOTHING),
        (11.2e-6, 13.4e-6, "s", "[11.2, 13.4] µs"),
        (850e-6, 1.08e-3, "s", "[850 µs, 1.08 ms]"),
        (None, 1e-3, "s", f"[{NOTHING}, 1.00 ms]"),
        (0.0, 0.0, "1/s", "[0, 0]"),
        (0.965, 1.1, "times", f"[0.965, 1.10]{TIMES}"),
        (-0.1, 0.2, "share saved", f"[{MINUS}10.0, 20.0] %"),
    ],
)
def test_an_interval_names_a_shared_unit_once(low, high, unit, text):
    assert interval(low, high, unit) == text


def test_clean_text_is_one_printable_line():
    assert clean("\x1b[31mred\x1b[0m\r\n  and\tmore \ud800") == "\ufffd[31mred\ufffd[0m and more \ufffd"


@given(st.text())
def test_clean_text_can_be_encoded_and_stays_as_it_is(text):
    once = clean(text)
    once.encode()
    assert clean(once) == once


@given(st.floats(1e-9, 1e12), st.sampled_from(UNITS), st.sampled_from((1, -1)))
def test_a_quantity_sorts_by_what_it_says(value, unit, sign):
    assert magnitude(quantity(sign * value, unit)) == pytest.approx(sign * value, rel=6e-3)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (NOTHING, None),
        ("", None),
        ("push: 3", None),
        ("unknown", None),
        ("∞", math.inf),
        (f"{MINUS}∞", -math.inf),
        ("≥ 80 %", 0.8),
        ("61.9 µs\n[60.1, 62.0] µs", 61.9e-6),
        ("1,234 clients", 1234.0),
        ("2.00 KiB/s", 2048.0),
        (f"1.05{TIMES}", 1.05),
        ("0", 0.0),
        ("+12.3 %", 0.123),
        ("-12.3 %", -0.123),
        (f"{MINUS}5.00 %\n[+0, +1] %", -0.05),
        ("+1.50 ms", 1.5e-3),
    ],
)
def test_the_first_quantity_of_a_cell_is_what_it_is_sorted_by(text, value):
    assert magnitude(text) == (None if value is None else pytest.approx(value))


@given(st.lists(st.text(max_size=9), unique=True))
def test_slugs_are_safe_and_no_two_are_one(names):
    made = slugs(names)
    assert list(made) == names
    assert len(set(made.values())) == len(names)
    for slug in made.values():
        assert re.fullmatch(r"[A-Za-z0-9_.-]*", slug)
        assert ".." not in slug
        assert not slug.startswith(".")


def test_names_of_workloads_stay_as_they_are():
    assert slugs(["rpc_ping", "v1.5"]) == {"rpc_ping": "rpc_ping", "v1.5": "v1.5"}
    assert slugs(["a b", "a/b", "a-b"]) == {"a b": "a-b", "a/b": "a-b-2", "a-b": "a-b-3"}


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (130, "2 min 10 s"),
        (3599.7, "1 h 00 min"),
        (3900, "1 h 05 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_a_time_is_written_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_count_has_its_plural() -> None:
    assert [counted(n, "block") for n in (0, 1, 2)] == ["0 blocks", "1 block", "2 blocks"]
