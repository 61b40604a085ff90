from harness.acceptance.wording import spans, unit_of
from harness.stats.paired import Estimate
from tests.unit.harness.acceptance.cells import criterion


def test_a_reason_has_value_interval_blocks_target_and_what_to_do() -> None:
    what = criterion("reduction", 0.8)
    assert unit_of(what) == "share saved"
    assert spans(what, Estimate(0.81, 0.79, 0.83, 10, 0.95)) == (
        "81.0 % [79.0, 83.0] % of 10 blocks spans the target of 80 %: run more blocks, such as --blocks 20"
    )
