import pytest

from harness.acceptance.wording import number, spans, unit_of
from harness.stats.paired import Estimate
from tests.unit.harness.acceptance.cells import criterion


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.8123, "share saved", "81.23 %"),
        (0.0204, "s", "20.4 ms"),
        (1.5, "s", "1.5 s"),
        (0.000123, "s", "123 µs"),
        (0.0, "s", "0 s"),
        (3.0, "times", "3 times"),
    ],
)
def test_numbers_are_for_people(value: float, unit: str, text: str) -> None:
    assert number(value, unit) == text


def test_a_reason_has_value_interval_blocks_target_and_what_to_do() -> None:
    what = criterion("reduction", 0.8)
    assert unit_of(what) == "share saved"
    assert spans(what, Estimate(0.81, 0.79, 0.83, 10, 0.95)) == (
        "81 % [79 %, 83 %] of 10 blocks spans the target of 80 %: run more blocks, such as --blocks 20"
    )
