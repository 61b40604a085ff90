import itertools

import pytest

from harness.acceptance.outcome import ExitCode, conclude
from harness.records.schema import CriterionRecord, Observation, Status, Verdict


def observation(status: Status = "ok", **changes: object) -> Observation:
    known = {
        "block": 2,
        "order": 1,
        "arm": "push",
        "stack": "push",
        "loop": "asyncio",
        "mode": "memory",
        "workload": "idle",
        "kind": "idle_federation",
        "params": {},
        "status": status,
    }
    return Observation(**{**known, **changes})


def criterion(verdict: Verdict, identity: str = "cpu") -> CriterionRecord:
    return CriterionRecord(
        id=identity,
        title="",
        kind="limit",
        mode="memory",
        workload="idle",
        metric="cpu_cores",
        arm="push",
        against="",
        against_workload="",
        unit="cores",
        target=1.0,
        value=None,
        ci_low=None,
        ci_high=None,
        n=0,
        verdict=verdict,
    )


@pytest.mark.parametrize(
    ("verdicts", "verdict", "code"),
    [
        ([], "measured", 0),
        (["pass", "pass"], "pass", 0),
        (["pass", "inconclusive"], "inconclusive", 4),
        (["pass", "contaminated"], "inconclusive", 4),
        (["inconclusive", "contaminated", "fail", "pass"], "fail", 1),
    ],
)
def test_the_verdict_of_a_complete_run_is_the_worst_of_its_criteria(
    verdicts: list[Verdict], verdict: str, code: int
) -> None:
    outcome = conclude([criterion(v) for v in verdicts], [observation()], "complete")
    assert (outcome.verdict, outcome.exit_code) == (verdict, code)


def test_the_first_of_several_exit_codes_wins() -> None:
    """Every combination of what can go wrong gives the code that stands first in the order."""
    precedence = [
        ExitCode.INTERRUPTED,
        ExitCode.STACK_FAILED,
        ExitCode.NOTHING_RAN,
        ExitCode.BUDGET,
        ExitCode.FAILED,
        ExitCode.INCONCLUSIVE,
    ]
    combinations = list(itertools.product([False, True], repeat=len(precedence)))
    for wrong in combinations:
        interrupted, failed, nothing, budget, criterion_failed, inconclusive = wrong
        if interrupted and budget:
            continue  # a run ends in one way
        observations = [observation("failed")] if failed else []
        if not nothing and not failed:
            observations = [observation()]
        elif not nothing:
            observations.append(observation())
        criteria = [criterion("pass")]
        criteria += [criterion("inconclusive")] * inconclusive + [criterion("fail")] * criterion_failed
        ended = "interrupted" if interrupted else "budget" if budget else "complete"
        expected = next((code for code, is_so in zip(precedence, wrong, strict=True) if is_so), ExitCode.OK)
        assert conclude(criteria, observations, ended).exit_code == expected, wrong


@pytest.mark.parametrize("status", ["failed", "timeout"])
def test_a_stack_that_failed_is_named_with_its_reasons(status: Status) -> None:
    bad = observation(status, reasons=["it broke", "twice"])
    outcome = conclude([], [observation(), bad, bad], "complete")
    assert outcome == (
        "failed",
        "2 cells failed, first push idle in block 2: it broke; twice",
        ExitCode.STACK_FAILED,
    )


def test_where_all_cells_are_unsupported_nothing_ran() -> None:
    outcome = conclude([], [observation("unsupported")], "complete")
    assert outcome == ("nothing ran", "no cell was measured: 1 were unsupported", ExitCode.NOTHING_RAN)
    assert conclude([], [], "complete").reason == "no cell was measured"
    assert conclude([], [observation(), observation("unsupported")], "complete").exit_code == ExitCode.OK


def test_reasons_count_what_was_kept_and_name_the_first_failure() -> None:
    assert "after 1 cells" in conclude([], [observation()], "interrupted").reason
    assert "1 cells were measured" in conclude([], [observation()], "budget").reason
    assert conclude([], [observation()], "complete").reason == "the suite has no criteria"
    several = [criterion("pass"), criterion("fail", "first"), criterion("fail", "second")]
    assert conclude(several, [observation()], "complete").reason == "2 fail, 1 pass; first failed: first"


def test_criteria_that_a_filter_dropped_are_told_and_none_left_is_no_pass() -> None:
    some = conclude([criterion("pass")], [observation()], "complete", dropped=3)
    assert (some.verdict, some.exit_code, some.reason) == ("pass", 0, "1 pass, 3 dropped by the filter")
    none = conclude([], [observation()], "complete", dropped=3)
    assert (none.verdict, none.exit_code) == ("inconclusive", 4)
