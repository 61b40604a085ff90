from dataclasses import replace

import msgspec

from harness.acceptance.criteria import Criterion
from harness.records.schema import Observation
from harness.run.deciding import hopeless, needed_cells, runs_again, state_of
from harness.run.plan import block_runs, shown_cells
from harness.suite import Arm, Suite, WorkloadSpec
from tests.unit.harness.acceptance.cells import BUSY

WORKLOADS = {name: WorkloadSpec(name, "idle_federation", {}) for name in ("idle", "ping", "shown")}
ARMS = {
    "push": Arm("push", "push", "memory", "asyncio", {}, ("idle", "ping", "shown")),
    "again": Arm("again", "push", "memory", "asyncio", {}, ("idle", "ping"), control_of="push"),
    "polling": Arm("polling", "polling", "memory", "asyncio", {}, ("idle", "ping", "shown")),
}
CRITERIA = tuple(
    Criterion(name, name, "reduction", name, "cpu_cores", "push", "polling", target=0.8)
    for name in ("idle", "ping")
)
SUITE = Suite("s", "S", 24, "arm", ARMS, WORKLOADS, CRITERIA, looks=(6, 10, 16, 24))


def measured(blocks: int, unclear: str = "", **changes: object) -> list[Observation]:
    """Return what a run measures in which ``unclear`` is near its target and everything else far from it."""
    made = []
    for block in range(1, blocks + 1):
        for arm in ARMS.values():
            for name in arm.workloads:
                value = 100.0 if arm.name == "polling" else 1.0
                if name == unclear and arm.name != "polling":
                    value = 10.0 if block % 2 else 35.0
                known = {
                    "block": block, "order": 1, "arm": arm.name, "stack": arm.stack, "loop": "asyncio",
                    "mode": "memory", "workload": name, "kind": "idle_federation", "params": {},
                    "status": "ok", "metrics": {"cpu_cores": value},
                }  # fmt: skip
                made.append(Observation(**{**known, **changes}))
    return made


def test_up_to_the_first_look_everything_takes_part() -> None:
    everything = {(arm.name, name) for arm in ARMS.values() for name in arm.workloads}
    assert needed_cells(SUITE, 1, []) == everything
    assert needed_cells(SUITE, 6, measured(5)) == everything


def test_after_it_only_cells_of_undecided_criteria_and_their_controls() -> None:
    assert needed_cells(SUITE, 7, measured(6)) == set()
    found = needed_cells(SUITE, 7, measured(6, "ping"))
    assert found == {("push", "ping"), ("polling", "ping"), ("again", "ping")}


def test_what_takes_part_in_few_blocks_goes_on_while_a_criterion_needs_it() -> None:
    few = replace(SUITE, workloads={**WORKLOADS, "idle": replace(WORKLOADS["idle"], blocks=1)})
    assert ("push", "idle") not in shown_cells(few, 2)
    assert {("push", "idle"), ("polling", "idle"), ("again", "idle")} <= needed_cells(few, 2, measured(1))


def test_decided_criteria_are_counted() -> None:
    assert state_of(SUITE, measured(6), over=False).decided == 2
    assert state_of(SUITE, measured(6, "ping"), over=False).decided == 1
    assert state_of(SUITE, measured(3), over=False).decided == 0
    over = state_of(SUITE, measured(6, "ping"), over=True, why="time was up")
    assert [d.record.verdict for d in over.decisions] == ["pass", "inconclusive"]
    assert over.decisions[1].record.reason.endswith("time was up")
    assert {(c.arm, c.workload, c.centre) for c in over.controls} == {
        ("push", "idle", 0.0),
        ("push", "ping", 0.0),
    }


def test_void_cells_and_timeouts_run_again_once() -> None:
    runs = block_runs(SUITE, 3, 1, needed_cells(SUITE, 1, []))
    fine = measured(1)
    wanted = {("push", "ping")}
    assert runs_again(runs, wanted, fine) == []

    def changed(**changes: object) -> list[Observation]:
        return [o if (o.arm, o.workload) != ("push", "ping") else measured(1, **changes)[1] for o in fine]

    for changes in ({"disturbance": BUSY}, {"status": "timeout"}):
        (run,) = runs_again(runs, wanted, changed(**changes))
        assert (run.arm.name, [w.name for w in run.workloads], run.attempt) == ("push", ["ping"], 2)
        assert run.title == "block 1 push again"
        assert runs_again(runs, wanted, changed(**changes, attempt=2)) == []
    assert runs_again(runs, set(), changed(disturbance=BUSY)) == []  # nobody waits for it
    (run,) = runs_again(runs, set(), changed(status="timeout"))  # else it would fail the run
    assert [w.name for w in run.workloads] == ["ping"]
    assert runs_again(runs, wanted, measured(1, disturbance=BUSY)) == []  # the machine is busy, not unlucky
    assert runs_again(runs, wanted, changed(status="failed")) == []


def test_a_machine_that_disturbs_every_cell_of_two_blocks_is_hopeless() -> None:
    assert hopeless([]) == hopeless(measured(1, disturbance=BUSY)) == ""
    assert "gave up" in hopeless(measured(2, disturbance=BUSY))
    assert hopeless([*measured(2, disturbance=BUSY), measured(1)[0]]) == ""


def test_a_control_that_gets_worse_later_unmakes_no_decision() -> None:
    """A look asks for the control of its own blocks."""
    near = [
        msgspec.structs.replace(o, metrics={"cpu_cores": 17.5}) if o.arm in ("push", "again") else o
        for o in measured(9)
    ]
    apart = [
        msgspec.structs.replace(o, metrics={"cpu_cores": 24.0}) if o.block > 6 and o.arm == "again" else o
        for o in near
    ]
    for known in (near, apart):
        decided = state_of(SUITE, known, over=False).decisions
        assert [d.record.verdict for d in decided] == ["pass", "pass"]


def test_what_is_exact_needs_no_quiet_cell() -> None:
    """A disturbed answer counts: repeating its cell could make a violation vanish."""
    exact = Criterion("exact", "exact", "at_most", "shown", "cpu_cores", "push", target=0.5)
    state = state_of(replace(SUITE, criteria=(*CRITERIA, exact)), measured(1), over=False)
    assert ("push", "shown") in state.wanted
    assert ("push", "shown") not in state.wanted_quiet
    assert ("push", "ping") in state.wanted_quiet
