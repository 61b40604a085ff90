import pytest

from harness.acceptance.judging import holds, sides, target_of
from harness.stats.paired import Estimate
from tests.unit.harness.acceptance.cells import criterion


@pytest.mark.parametrize(
    ("kind", "below", "at", "above"),
    [
        ("reduction", False, True, True),
        ("at_least", False, True, True),
        ("frontier", False, False, True),
        ("ratio", True, True, False),
        ("limit", True, True, False),
        ("at_most", True, True, False),
    ],
)
def test_each_kind_holds_on_its_side_of_the_target(kind: str, below: bool, at: bool, above: bool) -> None:
    what = criterion(kind, 0.5)
    assert [holds(what, value) for value in (0.4, 0.5, 0.6)] == [below, at, above]
    worse, better = sides(what, Estimate(0.5, 0.4, 0.6, 6, 0.95))
    assert (worse, better) == ((0.6, 0.4) if below else (0.4, 0.6))


def test_equal_has_one_answer_as_its_target() -> None:
    assert target_of(criterion("equal")) == 1.0
    assert target_of(criterion("limit", 3.0)) == 3.0
