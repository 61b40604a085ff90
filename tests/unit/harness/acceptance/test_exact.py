from collections.abc import Mapping, Sequence

import pytest

from harness.acceptance.criteria import Criterion
from harness.records.schema import CriterionRecord
from tests.unit.harness.acceptance.cells import BUSY, cell, criterion, decided, judged


def counted(kind: str, values: Sequence[float], looks: int = 3, *, over: bool = True) -> CriterionRecord:
    return judged(criterion(kind, 3.0), cell("push", values), looks=(looks,), over=over)


@pytest.mark.parametrize(
    ("kind", "values", "verdict"),
    [
        ("at_least", [3.0, 4.0, 5.0], "pass"),
        ("at_most", [3.0, 2.0, 0.0], "pass"),
        ("at_least", [2.9, 4.0, 5.0], "inconclusive"),
        ("at_most", [3.1, 0.0, 0.0], "inconclusive"),
        ("at_least", [2.0, 2.0, 5.0], "fail"),
        ("at_most", [4.0, 0.0, 4.0], "fail"),
    ],
)
def test_every_block_must_hold_it_and_two_that_do_not_are_a_fail(
    kind: str, values: list[float], verdict: str
) -> None:
    assert counted(kind, values).verdict == verdict


def test_the_block_that_does_not_hold_it_is_named() -> None:
    assert counted("at_least", [3.0, 2.0, 3.0]).reason.startswith("2 where at least 3 must be: block 2 alone")
    assert counted("at_most", [4.0, 0.0, 5.0]).reason == "5 where at most 3 must be: blocks 1, 3"
    assert counted("at_least", [3.0, 4.0, 5.0]).reason == "every one of 3 blocks holds it, the worst with 3"


def test_a_violation_asks_for_fresh_blocks_until_they_show_it_or_are_used_up() -> None:
    what = criterion("at_least", 3.0)
    once = decided(what, cell("push", [3.0, 2.0, 3.0]), looks=(3,), over=False)
    assert (once.record.verdict, once.needed, once.more) == ("inconclusive", {("push", "idle")}, 6)
    again = decided(what, cell("push", [3.0, 2.0, 3.0, 2.0]), looks=(3,), over=False)
    assert (again.record.verdict, again.needed) == ("fail", frozenset())
    never = decided(what, cell("push", [3.0, 2.0, *[3.0] * 7]), looks=(3,), over=False)
    assert (never.record.verdict, never.needed) == ("inconclusive", frozenset())


def test_too_few_blocks_are_pending() -> None:
    early = decided(criterion("at_least", 3.0), cell("push", [3.0]), looks=(3,), over=False)
    assert (early.record.verdict, early.more) == ("inconclusive", 2)


def test_load_excuses_no_wrong_answer() -> None:
    record = judged(criterion("at_least", 3.0), cell("push", [2.0, 2.0, 3.0], disturbance=BUSY), looks=(3,))
    assert record.verdict == "fail"
    assert (
        judged(criterion("at_least", 3.0), cell("push", [3.0] * 3, disturbance=BUSY)).verdict
        != "contaminated"
    )


def test_a_block_without_the_metric_leaves_it_open() -> None:
    record = judged(criterion("at_least", 3.0), cell("push", [3.0, None, 3.0]), looks=(3,))
    assert (record.verdict, record.reason) == (
        "inconclusive",
        "cpu_cores: could not be measured in 1 of 3 blocks",
    )


def test_a_block_without_the_metric_hides_no_violation_that_two_blocks_show() -> None:
    record = judged(criterion("at_most", 0.0), cell("push", [0.0, 1.0, 1.0, 0.0, 0.0, None]))
    assert record.verdict == "fail"


def equal(texts: Mapping[str, Sequence[str | None]]) -> CriterionRecord:
    what = Criterion("id", "title", "equal", "digits", "model_digest")
    cells = [
        [
            cell(arm, [1.0] * 3, "digits", texts={} if text is None else {"model_digest": text})[block]
            for block, text in enumerate(of_arm)
        ]
        for arm, of_arm in texts.items()
    ]
    return judged(what, *cells, looks=(3,))


def test_equal_answers_are_said_to_agree() -> None:
    record = equal({"push": "aaa", "polling": "aaa"})
    assert (record.verdict, record.value, record.target, record.n) == ("pass", 1.0, 1.0, 3)
    assert (record.unit, record.reason) == ("distinct", "all 6 observations agree")


def test_one_block_that_differs_is_named_and_two_are_a_fail() -> None:
    record = equal({"push": "aab", "polling": "aaa"})
    assert (record.verdict, record.value) == ("inconclusive", 2.0)
    assert record.reason.startswith(
        "2 different answers in 6 observations: push in block 3 unlike the others"
    )
    assert equal({"push": "abb", "polling": "aaa"}).verdict == "fail"
    assert equal({"push": "bbb", "polling": "aaa"}).verdict == "fail"


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({"push": "aaa"}, "fewer than two arms ran digits"),
        ({"push": "aaa", "polling": [None] * 3}, "3 of 6 observations lack model_digest"),
    ],
)
def test_equal_decides_nothing_on_one_text_alone(texts: Mapping[str, str], reason: str) -> None:
    record = equal(texts)
    assert (record.verdict, record.reason) == ("inconclusive", reason)
