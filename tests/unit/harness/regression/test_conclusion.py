from __future__ import annotations

import pytest

from harness.acceptance.outcome import ExitCode
from harness.regression.conclusion import (
    Compared,
    Rules,
    conclude,
    concluded,
    powerless,
    short,
    unconfirmable,
)
from harness.regression.margins import MARGINS
from harness.regression.matching import LeftOut
from harness.regression.stored import Cell
from harness.regression.verdict import Key, Sides
from tests.fakes.comparisons import RATES, fake_change

LOST, NEW = LeftOut(["push rpc: only the base has it", "and this"], []), LeftOut([], ["push rpc: new"])


def of(*verdicts, failed=(), left_out=NEW):
    changes = [_change(verdict) for verdict in verdicts]
    environment = {"cores": 2}
    failed = dict(failed)
    return Compared("ab", "a", "b", True, environment, changes, failed, left_out, ["busy"])


def _change(verdict):
    """Return a change; ``blind`` is a metric that decides, and of which nothing could have been found."""
    if verdict == "blind":
        return fake_change("latency_hops", "inconclusive", detectable=1.01)
    return fake_change(verdict=verdict)


@pytest.mark.parametrize(
    ("made", "verdict", "code"),
    [
        (of("unchanged"), "unchanged", ExitCode.OK),
        (of("unchanged", "improved"), "improved", ExitCode.OK),
        (of("unchanged", "inconclusive", "improved"), "improved", ExitCode.OK),
        (of("unchanged", "contaminated"), "unchanged", ExitCode.OK),
        (of("unchanged", "blind", "inconclusive"), "inconclusive", ExitCode.INCONCLUSIVE),
        (of("unchanged", left_out=LOST), "inconclusive", ExitCode.INCONCLUSIVE),
        (of("regressed", "inconclusive", left_out=LOST), "regressed", ExitCode.FAILED),
        (of("regressed", failed={Cell("push", "rpc"): "died"}), "failed", ExitCode.STACK_FAILED),
        (of(), "nothing compared", ExitCode.NOTHING_RAN),
    ],
)
def test_the_worst_counts(made, verdict, code):
    assert conclude(made, "inconclusive")[::2] == (verdict, code)
    passing = code is ExitCode.INCONCLUSIVE and not made.left_out.lacking
    lenient = ExitCode.OK if passing else code
    assert conclude(made, "regressed")[::2] == (verdict, lenient)


def test_what_is_lost_and_what_is_worst_is_named():
    assert conclude(of("unchanged", left_out=LOST), "inconclusive")[1] == (
        "1 unchanged; not compared: push rpc: only the base has it and 1 more"
    )
    small, large = fake_change(ratio=1.2), fake_change("cpu_s_per_op", ratio=1 / 3)
    both = of()._replace(changes=[small, large])
    assert conclude(both, "inconclusive")[1] == "2 regressed; worst: cpu_s_per_op of push rpc_ping"
    died = of("regressed", failed={Cell("push", "rpc"): "ping 9 was answered with 8" + "x" * 300})
    reason = conclude(died, "inconclusive")[1]
    assert reason.startswith("1 cells of the candidate failed, first push rpc: ping 9 was answered with 8x")
    assert len(reason) < 270


def test_a_record_holds_what_was_compared_and_how_it_was_judged():
    record = concluded(of("unchanged", left_out=LOST), Rules(MARGINS, warnings=["old"]), "fedbench ab")
    assert record.warnings == ["busy", "old"]
    assert record.not_compared == LOST.lacking
    assert (record.exit_code, record.verdict, record.rates) == (4, "inconclusive", None)
    assert (record.undecided, record.power, record.alike) == (0, "", "")


def test_what_is_undecided_is_told_with_what_would_have_been_found():
    open_one = fake_change(verdict="inconclusive", detectable=0.35)
    made = of("unchanged")._replace(changes=[fake_change(verdict="unchanged"), open_one])
    record = concluded(made, Rules(MARGINS), "fedbench ab")
    said = "nothing decided for 1 of 2; a change of 35% or more would have been found in 1 of them"
    assert (record.undecided, record.power, record.exit_code) == (1, said, 0)
    assert record.reason == f"1 inconclusive, 1 unchanged; {said}"
    blind = made._replace(changes=[fake_change("latency_hops", "inconclusive", detectable=None)])
    assert conclude(blind, "inconclusive")[1].endswith(
        "1 that decide could have doubled unseen, first latency_hops of push rpc_ping: run more blocks"
    )


def test_a_slow_down_of_everything_is_told_and_is_no_excuse():
    slow = [fake_change("round_s", arm=f"a{n}", ratio=1.3 + n / 100) for n in range(8)]
    verdict, reason, code = conclude(of()._replace(changes=slow), "inconclusive")
    assert (verdict, code) == ("regressed", ExitCode.FAILED)
    assert "everything moved alike, 8 of 8 times and CPU times by about +33%: the machine?" in reason


def test_too_few_samples_are_said():
    few = {Key("push", f"w{n}", "round_s"): Sides([1.0, 1.1, 1.0], [1.0, 1.2, 1.1]) for n in range(3)}
    assert powerless(few) == [
        "3 of 3 metrics have too few samples to tell a change for certain, first push w0 round_s: "
        "run more blocks"
    ]
    many = {key: Sides([1.0, 1.1] * 8, [1.1, 1.0] * 8) for key in few}
    assert powerless(many) == []


def test_suspicions_that_so_few_blocks_cannot_confirm_are_said():
    assert unconfirmable([], 7) == []
    keys = [Key("push", "rpc", "latency_hops"), Key("push", "round", "round_s")]
    assert unconfirmable(keys, 7) == ["2 suspicions are more than 7 blocks can confirm: run more blocks"]


def test_a_batch_shorter_than_what_the_rates_are_of_is_said():
    assert short(RATES, 10) == short(None, 1) == []
    assert short(RATES, 9) == ["the error rates are those of batches of 10 blocks: 9 tell less"]
