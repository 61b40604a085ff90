from __future__ import annotations

import pytest
from msgspec.structs import replace

from harness.acceptance.outcome import ExitCode
from harness.regression.baselines import NoBaseline
from harness.regression.changes import key_of
from harness.regression.compare import compare_stored
from harness.regression.conclusion import Rules
from harness.regression.margins import MARGINS
from harness.regression.runs import read_run
from harness.regression.verdict import Detectable, Key
from tests.fakes.stored import observations, write

ROUND = ("push", "round", "round_s")
SLOW = {ROUND: 2.0}


@pytest.fixture
def made(tmp_path):
    """Compares two made-up runs."""

    def compare(base, candidate, rules=None, **changes):
        runs = [
            read_run(write(tmp_path / f"{len(list(tmp_path.iterdir()))}", run)) for run in (base, candidate)
        ]
        rules = rules or Rules(MARGINS)
        return compare_stored("check", *runs, rules._replace(**changes), command="fedbench check")

    return compare


def verdicts(record, name):
    return {key_of(change) for change in record.changes if change.verdict == name}


def test_a_slow_down_is_the_only_thing_reported_and_twice_the_same(made):
    base, candidate = observations(10), observations(10, seed=1, factors=SLOW)
    first, second = made(base, candidate), made(base, candidate)
    assert first.changes == second.changes
    assert verdicts(first, "regressed") == {Key(*ROUND)}
    assert verdicts(first, "improved") == set()
    assert (first.verdict, first.exit_code) == ("regressed", ExitCode.FAILED)
    assert "worst: round_s of push round" in first.reason
    change = next(c for c in first.changes if key_of(c) == Key(*ROUND))
    assert change.ratio == pytest.approx(2.0, rel=0.05)
    assert change.base == pytest.approx(0.002, rel=0.1)


def test_the_same_code_on_a_faster_machine_is_unchanged(made):
    record = made(observations(10), observations(10, seed=1, speed=1.4))
    assert verdicts(record, "unchanged") == {key_of(change) for change in record.changes}
    assert (record.verdict, record.exit_code) == ("unchanged", ExitCode.OK)


def test_without_floors_times_are_compared_as_they_are_and_that_is_said(made):
    bare = [observations(10, seed=seed, floors=False) for seed in (0, 1)]
    record = made(*bare)
    assert "times are compared as they are: neither run has a floor" in record.warnings
    assert verdicts(record, "unchanged") == {key_of(change) for change in record.changes}
    # What was calibrated with floors says nothing of runs without.
    known = {Key(*ROUND): Detectable(7.0, paired=False)}
    assert {c.detectable for c in made(*bare, detectable=known).changes if key_of(c) == Key(*ROUND)} != {7.0}


def test_a_machine_that_got_faster_hides_nothing_where_floors_were_lost(made):
    faster = observations(10, seed=1, speed=1.4, factors={ROUND: 1.4})
    lost = [o for o in faster if not (o.stack == "floors" and o.block < 4)]
    record = made(observations(10), lost)
    assert (record.verdict, record.exit_code) == ("inconclusive", ExitCode.INCONCLUSIVE)
    assert "push round round_s: not every block has a floor" in record.not_compared


def test_a_change_in_one_half_of_a_run_is_not_confirmed(made):
    half = [
        replace(o, metrics={**o.metrics, "round_s": o.metrics["round_s"] * 2})
        if o.workload == "round" and o.block > 5
        else o
        for o in observations(10, seed=1)
    ]
    record = made(observations(10), half)
    assert verdicts(record, "regressed") == set()
    assert Key(*ROUND) in verdicts(record, "inconclusive")
    assert (record.exit_code, record.undecided) == (ExitCode.OK, 1)


def test_what_runs_made_apart_may_differ_by_is_told_and_passes(made):
    a_bit = {ROUND: 1.4}
    record = made(observations(10), observations(10, seed=1, factors=a_bit))
    assert verdicts(record, "contaminated") == {Key(*ROUND)}
    assert (record.verdict, record.exit_code, record.undecided) == ("unchanged", ExitCode.OK, 1)
    assert "nothing decided for 1 of" in record.reason


def test_a_metric_told_by_a_floor_in_turn_is_not_allowed_to_drift(made):
    hops = ("push", "rpc", "latency_hops")
    record = made(observations(10), observations(10, seed=1, factors={hops: 1.2}))
    assert verdicts(record, "regressed") == {Key(*hops)}


def test_check_refuses_a_machine_in_another_state_and_compare_says_it(made, tmp_path):
    base, slow = observations(10), observations(10, seed=1, speed=0.6)
    with pytest.raises(NoBaseline, match=r"the floors took 1\.6. times as long as in 0: .*`fedbench ab"):
        made(base, slow)
    runs = [read_run(write(tmp_path / f"run{n}", run)) for n, run in enumerate((base, slow))]
    record = compare_stored("compare", *runs, Rules(MARGINS), command="fedbench compare")
    assert any("the floors took 1.6" in warning for warning in record.warnings)


def test_warnings_of_odd_blocks_are_no_pass(made):
    """The median is zero on both sides."""
    odd = [
        replace(o, metrics={**o.metrics, "log_records_per_op": 5.0})
        if o.workload == "rpc" and o.block % 2 and o.block > 2
        else o
        for o in observations(20, seed=1)
    ]
    record = made(observations(20), odd)
    assert verdicts(record, "inconclusive") == {Key("push", "rpc", "log_records_per_op")}


def test_few_blocks_are_said(made):
    record = made(observations(10), observations(4, seed=1))
    assert any(
        "has 4 blocks: with fewer than 8 hardly any change can be confirmed" in w for w in record.warnings
    )
    assert record.rates is None


def test_a_base_of_too_few_blocks_is_said(made):
    record = made(observations(1), observations(10, seed=1))
    assert any("metrics have too few samples to tell a change" in warning for warning in record.warnings)
    assert not any("too few" in w for w in made(observations(10), observations(10, seed=1)).warnings)


def test_a_run_against_itself_passes_though_something_cannot_run_here(made):
    lacking = [
        replace(o, status="unsupported", reasons=["no cores"], metrics={}) if o.workload == "rpc" else o
        for o in observations(10)
    ]
    assert made(lacking, lacking).exit_code == ExitCode.OK
    assert made(observations(10), lacking).exit_code == ExitCode.INCONCLUSIVE


def test_a_failed_cell_is_a_failure_and_nothing_in_common_is_nothing(made):
    broken = [
        replace(o, status="failed", reasons=["died"]) if o.workload == "rpc" else o for o in observations(9)
    ]
    record = made(observations(9), broken)
    assert (record.verdict, record.exit_code) == ("failed", ExitCode.STACK_FAILED)
    assert "push rpc: the candidate failed in block 1: died" in record.not_compared
    renamed = [replace(o, arm="another") if o.stack == "push" else o for o in observations(9)]
    record = made(observations(9), renamed)
    assert (record.changes, record.exit_code) == ([], ExitCode.NOTHING_RAN)


def test_what_the_candidate_lacks_is_no_pass(made):
    lacking = [
        replace(o, metrics={**o.metrics, "round_s": None}) if o.workload == "round" else o
        for o in observations(10, seed=1)
    ]
    record = made(observations(10), lacking)
    assert "push round round_s: only the base has it" in record.not_compared
    assert record.exit_code == ExitCode.INCONCLUSIVE
    gone = [o for o in observations(10, seed=1) if o.workload != "memory"]
    assert made(observations(10), gone).exit_code == ExitCode.INCONCLUSIVE
    assert made(gone, observations(10)).exit_code == ExitCode.OK


def test_other_margins_judge_otherwise(made):
    wide = {**MARGINS, "round_s": MARGINS["round_s"]._replace(share=2.0)}
    record = made(observations(10), observations(10, seed=1, factors=SLOW), margins=wide)
    assert Key(*ROUND) in verdicts(record, "unchanged")
