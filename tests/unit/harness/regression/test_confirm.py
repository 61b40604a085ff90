from __future__ import annotations

import pytest

from harness.regression.changes import compare, suspected
from harness.regression.confirm import confirmed, halved
from harness.regression.verdict import Sides
from tests.unit.harness.regression.made import KEY, MARGINS, sides


@pytest.mark.parametrize(
    ("again", "verdict", "said"),
    [
        (2.0, "regressed", "; a fresh batch says the same"),
        (1.0, "inconclusive", "regressed in one batch, and a fresh one says unchanged"),
        (0.5, "inconclusive", "regressed in one batch, and a fresh one says improved"),
        (None, "inconclusive", "regressed in one batch, and a fresh one did not measure it"),
    ],
)
def test_a_suspicion_counts_when_a_fresh_batch_shares_it(
    again: float | None, verdict: str, said: str
) -> None:
    first = compare({KEY: sides(2.0), KEY._replace(arm="other"): sides(1.0)}, MARGINS)
    second = {} if again is None else {KEY: sides(again)}
    assert [change.verdict for change in suspected(first)] == ["regressed"]
    changed, same = confirmed(first, second, MARGINS)
    assert changed.verdict == verdict
    assert changed.reason.endswith(said)
    assert same == first[1]


def test_a_fresh_batch_finds_nothing_by_itself() -> None:
    (change,) = confirmed(compare({KEY: sides(1.0)}, MARGINS), {KEY: sides(2.0)}, MARGINS)
    assert change.verdict == "unchanged"


@pytest.mark.parametrize(
    ("late", "verdict"), [(2.0, "regressed"), (1.0, "inconclusive"), (None, "inconclusive")]
)
def test_either_half_of_a_stored_run_has_to_say_the_same(late: float | None, verdict: str) -> None:
    """The first half is twice as slow."""
    noise = [1 + n / 1000 for n in range(16)]
    factors = [2.0] * 8 + [late] * 8
    blocks = {n: 1e-3 * noise[n] * f for n, f in enumerate(factors) if f is not None}
    samples = {KEY: Sides([1e-3 * one for one in noise], list(blocks.values()), paired=False)}
    (change,) = halved(samples, {KEY: blocks}, range(16), MARGINS)
    assert change.verdict == verdict
