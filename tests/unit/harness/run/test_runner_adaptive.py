"""Which cells a run measures, with workers that are made up: the runner itself is the real one."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.records.schema import Observation, RunRecord
from harness.records.store import Store
from harness.run import runner
from harness.run.asked import read_asked
from harness.run.plan import ArmRun
from harness.run.runner import Request, resume_suite, run_suite
from tests.unit.harness.acceptance.cells import BUSY
from tests.unit.harness.run.test_deciding import SUITE
from tests.unit.harness.run.test_runner import Listener, interrupt

pytestmark = pytest.mark.usefixtures("same_checkout")

Value = Callable[[int, str, str, int], dict[str, Any]]
"""Says what a cell measures: block, arm, workload and attempt to the fields of its observation."""


@pytest.fixture
def measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[RunRecord, Path]]:
    def run(value: Value, suite: Any = SUITE, listener: Any = None, resume: Path | None = None) -> Any:
        class Made:
            def __init__(self, log_dir: Path) -> None:
                pass

            def run(self, arm_run: ArmRun, on_cell: Callable[[str], None]) -> Iterator[Observation]:
                arm = arm_run.arm
                for w in arm_run.workloads:
                    known = {
                        "block": arm_run.block, "order": arm_run.order, "arm": arm.name, "stack": arm.stack,
                        "loop": "asyncio", "mode": "memory", "workload": w.name, "kind": w.kind,
                        "params": {}, "status": "ok", "attempt": arm_run.attempt,
                    }  # fmt: skip
                    yield Observation(**{**known, **value(arm_run.block, arm.name, w.name, arm_run.attempt)})

        monkeypatch.setattr(runner, "Executor", Made)
        monkeypatch.setattr(runner, "render", lambda *_: None)
        listener = listener or Listener()
        if resume is not None:
            return resume_suite(resume, read_asked(resume), listener)
        return run_suite(Request(suite, 3, tmp_path / "results", "fedbench run s"), listener)

    return run


def clear(block: int, arm: str, workload: str, attempt: int) -> dict[str, Any]:
    return {"metrics": {"cpu_cores": 100.0 if arm == "polling" else 1.0}}


def ping_unclear(block: int, arm: str, workload: str, attempt: int) -> dict[str, Any]:
    near = arm != "polling" and workload == "ping"
    return (
        {"metrics": {"cpu_cores": (10.0 if block % 2 else 35.0)}} if near else clear(block, arm, workload, 1)
    )


def verdicts(record: RunRecord) -> dict[str, str]:
    return {c.id: c.verdict for c in record.criteria}


def test_what_is_clear_ends_at_the_first_look(measure) -> None:
    listener = Listener()
    record, _ = measure(clear, listener=listener)
    assert (verdicts(record), record.exit_code) == ({"idle": "pass", "ping": "pass"}, 0)
    assert (record.blocks_planned, record.blocks_done) == (24, 6)
    assert listener.decisions == [*((block, 0, 2) for block in range(1, 6)), (6, 2, 2)]
    assert record.not_measured == []


def test_only_undecided_cells_are_repeated(measure) -> None:
    listener = Listener()
    record, _ = measure(ping_unclear, listener=listener)
    assert (verdicts(record), record.exit_code) == ({"idle": "pass", "ping": "inconclusive"}, 4)
    counts = Counter((o.arm, o.workload) for o in listener.observations)
    assert counts == {
        ("push", "idle"): 6, ("again", "idle"): 6, ("polling", "idle"): 6, ("push", "shown"): 6,
        ("polling", "shown"): 6, ("push", "ping"): 24, ("again", "ping"): 24, ("polling", "ping"): 24,
    }  # fmt: skip
    assert "spans the target of 80 %" in record.criteria[1].reason


def test_a_fail_needs_fresh_blocks(measure) -> None:
    def bad_for(blocks: int) -> Value:
        def value(block: int, arm: str, workload: str, attempt: int) -> dict[str, Any]:
            bad = arm != "polling" and workload == "ping" and block <= blocks
            return {"metrics": {"cpu_cores": 40.0}} if bad else clear(block, arm, workload, attempt)

        return value

    record, _ = measure(bad_for(30))
    assert (verdicts(record)["ping"], record.exit_code, record.blocks_done) == ("fail", 1, 12)
    record, _ = measure(bad_for(6))
    assert verdicts(record)["ping"] != "fail"
    assert record.exit_code != 1


def test_a_void_cell_is_run_again_once_at_the_end_of_its_block(measure) -> None:
    def once(block: int, arm: str, workload: str, attempt: int) -> dict[str, Any]:
        void = (block, arm, workload, attempt) == (2, "push", "idle", 1)
        return clear(block, arm, workload, attempt) | ({"disturbance": BUSY} if void else {})

    listener = Listener()
    record, folder = measure(once, listener=listener)
    assert (record.exit_code, record.blocks_done) == (0, 6)
    again = [
        told for told in listener.told if isinstance(told, str) and told.endswith("again") and "begin" in told
    ]
    assert "begin block 2 push again" in again
    (kept,) = [o for o in Store(folder).observations() if (o.block, o.arm, o.workload) == (2, "push", "idle")]
    assert (kept.attempt, kept.reasons) == (2, ["was run again: others used 0.90 cores"])


def test_a_cell_that_stays_void_takes_another_block(measure) -> None:
    def twice(block: int, arm: str, workload: str, attempt: int) -> dict[str, Any]:
        void = (block, arm, workload) == (2, "push", "idle")
        return clear(block, arm, workload, attempt) | ({"disturbance": BUSY} if void else {})

    record, _ = measure(twice)
    assert (verdicts(record)["idle"], record.blocks_done, record.exit_code) == ("pass", 7, 0)


def test_a_machine_that_is_never_quiet_ends_the_run_early_with_4(measure) -> None:
    listener = Listener()
    record, _ = measure(
        lambda *cell: {"metrics": {"cpu_cores": 90.0}, "disturbance": BUSY}, listener=listener
    )
    assert {o.block for o in listener.observations} == {1, 2}
    assert (set(verdicts(record).values()), record.exit_code) == ({"contaminated"}, 4)
    assert "make (42) 0.90 cores" in record.criteria[0].reason


def test_timeouts_of_a_starved_machine_are_no_failure(measure) -> None:
    def slow(block: int, arm: str, workload: str, attempt: int) -> dict[str, Any]:
        return {"status": "timeout", "reasons": ["too slow"], "disturbance": BUSY}

    assert measure(slow)[0].exit_code == 4
    quiet, _ = measure(lambda *cell: {"status": "timeout", "reasons": ["hangs"]})
    assert quiet.exit_code == 3


def test_no_block_begins_when_the_time_is_up(measure) -> None:
    record, _ = measure(ping_unclear, replace(SUITE, time_s=1e-9))
    assert (record.ended, record.exit_code, record.blocks_done) == ("complete", 4, SUITE.first_look)
    assert sorted(set(verdicts(record).values())) == ["inconclusive", "pass"]  # the first look was taken
    (undecided,) = (c for c in record.criteria if c.verdict == "inconclusive")
    assert undecided.reason.endswith(
        "the time of 1e-09 s was up: give more with a longer time_s, or with --blocks"
    )


def test_a_run_is_resumed_in_the_middle_of_block_7(measure) -> None:
    whole = Listener()
    measure(ping_unclear, listener=whole)
    first_of_7 = sum(o.block < 7 for o in whole.observations) + 1
    broken, folder = measure(ping_unclear, listener=Listener(interrupt, at=first_of_7))
    assert broken.exit_code == 130
    rest = Listener()
    record, _ = measure(ping_unclear, listener=rest, resume=folder)
    assert (record.ended, record.exit_code) == ("complete", 4)
    order = [(o.block, o.arm, o.workload) for o in Store(folder).observations()]
    assert order == [(o.block, o.arm, o.workload) for o in whole.observations]
    assert len(rest.observations) == len(whole.observations) - first_of_7
