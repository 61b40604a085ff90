import msgspec
import pytest

from harness.report.promises import (
    LABELS,
    SIGNS,
    less,
    modes_of,
    promise_cell,
    promise_table,
    promised,
    sentence,
    verdict_of,
)
from tests.fakes.promises import MODES, SAVED, promise_run
from tests.fakes.results import fake_run


def changed(name, **changes):
    run = promise_run()
    criteria = [msgspec.structs.replace(c, **changes) if c.id == name else c for c in run.criteria]
    return msgspec.structs.replace(run, criteria=criteria)


def test_every_promise_has_a_criterion_in_every_mode():
    found = promised(promise_run())
    assert set(found) == {(promise, mode) for promise in LABELS for mode in MODES}
    assert all(c.value == SAVED[promise][MODES.index(mode)] for (promise, mode), c in found.items())
    assert modes_of(found) == list(MODES)


def test_a_run_without_promises_has_no_table():
    assert promised(fake_run()) == {}
    assert promise_table(fake_run()) is None


@pytest.mark.parametrize(
    ("other", "stands"),
    [
        ({"verdict": "fail", "ci_low": 0.99}, True),
        ({"verdict": "inconclusive", "ci_low": 0.99}, True),
        ({"verdict": "pass", "ci_low": 0.9}, True),
        ({"verdict": "pass", "ci_low": 0.99999}, False),
        ({"verdict": "pass", "ci_low": 0.0, "unit": "s"}, False),
    ],
)
def test_of_several_criteria_the_one_that_fares_worst_stands_for_the_promise(other, stands):
    run = promise_run()
    usual = promised(run)["cpu-idle", "memory"]
    another = msgspec.structs.replace(usual, id="another", **other)
    for criteria in ([*run.criteria, another], [another, *run.criteria]):
        found = promised(msgspec.structs.replace(run, criteria=criteria))["cpu-idle", "memory"]
        assert found.id == ("another" if stands else usual.id)


def test_a_cell_has_sign_value_interval_and_what_is_open():
    table = promise_table(promise_run())
    rows = {row[0]: row[1:] for row in table.rows}
    assert list(rows) == list(LABELS.values())
    assert rows["CPU idle"][0] == "✓ 99.92 % less\n[99.91, 99.92]"
    assert rows["memory"][1] == "✗ 48.7 % less\n[42.5, 51.8]\nfail"
    assert rows["CPU per round"][2].startswith("? 70.4 % less\n")
    assert [verdict_of(cell) for cell in rows["push latency"]] == ["pass", "contaminated", "pass"]
    assert len(set(SIGNS.values())) == 4


def test_a_promise_that_a_mode_has_not_is_a_dash():
    run = promise_run()
    run = msgspec.structs.replace(run, criteria=[c for c in run.criteria if c.id != "network-logs"])
    assert promise_table(run).rows[-1][-1] == "—"
    assert verdict_of("—") == ""
    assert promise_cell(None) == ["—"]


@pytest.mark.parametrize(
    ("value", "text"), [(0.9992, "99.92 % less"), (-0.12, "12.0 % more"), (0.0, "no less"), (None, "—")]
)
def test_a_saving_is_told_in_words(value, text):
    assert less(value) == text


def test_a_promise_that_is_decided_otherwise_keeps_its_unit():
    odd = promised(changed("logs", unit="1/op", value=3.0, ci_low=2.0, ci_high=4.0, kind="at_most"))
    assert promise_cell(odd["logs", "memory"]) == ["✓ 3.00 /op", "[2.00, 4.00] /op"]


def test_the_sentence_spans_the_modes_and_names_what_did_not_pass():
    assert sentence(promise_run()) == (
        "Push against polling: CPU idle 98.7 to 99.92 % less, CPU per round 70.4 to 85.1 % less (network: "
        "inconclusive), RPC latency 96.7 to 99.72 % less, push latency 95.3 to 99.81 % less (process: "
        "contaminated), memory 48.7 to 60.2 % less (process: fail), log records 100 % less."
    )


def test_a_promise_without_a_value_is_open_and_a_loss_is_told():
    told = sentence(changed("cpu-idle", value=None, ci_low=None, ci_high=None, verdict="inconclusive"))
    assert "CPU idle 98.7 to 99.59 % less (memory: inconclusive)" in told
    assert "CPU idle 50.0 % more to 99.59 % less (memory: fail)" in sentence(
        changed("cpu-idle", value=-0.5, verdict="fail")
    )
