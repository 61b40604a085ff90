import dataclasses
import gzip
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from fedbench.errors import ConfigError
from harness.records.schema import Observation
from harness.records.store import Store
from harness.run import runner
from harness.run.folder import make_folder
from harness.run.plan import ArmRun
from harness.run.runner import Request, run_suite
from harness.stacks.registry import stack_names
from harness.suite import Suite
from harness.suitefile import load_suite
from harness.workloads.registry import catalogue

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("undisturbed")]

SUITE = """
title: Two arms and their control
blocks: 2
workloads:
  floor: {operations: 300}
  idle: {workload: idle_federation, clients: 2, idle_s: 0.05, settle_s: 0.01}
arms:
  floors: {workloads: [floor]}
  again: {stack: floors, control_of: floors, workloads: [floor]}
  push: {workloads: [idle]}
criteria:
  - {id: fast, kind: at_most, target: 10.0, workload: floor, metric: latency_p50_s, arm: floors}
  - {id: quiet, kind: at_most, target: 0.0, workload: idle, metric: log_records_per_s, arm: push}
"""


class Listener:
    """Notes what it is told, and acts on the n-th observation.

    Attributes:
        told: In order.
        decisions: Block, criteria decided after it, and all criteria.
    """

    def __init__(self, act: Callable[[], None] = lambda: None, at: int = 0) -> None:
        self.told: list[Any] = []
        self.notices: list[str] = []
        self.decisions: list[tuple[int, int, int]] = []
        self._act = act
        self._at = at

    def started(self, runs: int, expected_s: float) -> None:
        self.told.append((runs, expected_s))

    def arm(self, arm_run: ArmRun) -> None:
        self.told.append(f"begin {arm_run.title}")

    def cell(self, name: str) -> None:
        self.told.append(name)

    def observed(self, observation: Observation) -> None:
        self.told.append(observation)
        if len(self.observations) == self._at:
            self._act()

    def arm_done(self, arm_run: ArmRun) -> None:
        self.told.append(f"end {arm_run.title}")

    def block_done(self, block: int, decided: int, of: int, left_s: float) -> None:
        assert left_s >= 0
        self.decisions.append((block, decided, of))

    def notice(self, text: str) -> None:
        self.notices.append(text)

    @property
    def observations(self) -> list[Observation]:
        return [told for told in self.told if isinstance(told, Observation)]


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.fixture
def suite(tmp_path: Path) -> Suite:
    path = tmp_path / "small.yaml"
    path.write_text(SUITE)
    return load_suite(str(path), catalogue(), stack_names())


@pytest.fixture
def request_for(tmp_path: Path) -> Callable[..., Request]:
    return lambda suite, **more: Request(suite, 3, tmp_path / "results", "fedbench run small", **more)


def test_a_complete_run_is_kept_decided_and_reported(suite, request_for) -> None:
    listener = Listener()
    record, folder = run_suite(request_for(suite), listener)
    assert (record.ended, record.verdict, record.exit_code) == ("complete", "pass", 0)
    assert (record.suite, record.seed, record.command) == ("small", 3, "fedbench run small")
    assert (record.blocks_planned, record.blocks_done) == (2, 2)
    assert [sorted(arms) for arms in record.order] == [["again", "floors", "push"]] * 2
    assert {c.id: c.verdict for c in record.criteria} == {"fast": "pass", "quiet": "pass"}
    assert record.not_measured == []
    assert record.duration_s > 0
    assert record.run_id == folder.name
    store = Store(folder)
    assert store.read_run() == record
    assert store.observations() == listener.observations
    assert {path.name for path in folder.iterdir()} == {
        "junit.xml",
        "logs",
        "observations.jsonl",
        "plots",
        "report.html",
        "report.md",
        "run.json",
        "samples.csv.gz",
        "suite.json",
    }
    samples = gzip.decompress((folder / "samples.csv.gz").read_bytes()).decode()
    assert len(samples.splitlines()) == 1 + sum(len(o.metrics) for o in listener.observations)


def test_progress_is_told_as_it_is_made(suite, request_for) -> None:
    listener = Listener()
    record, _ = run_suite(request_for(suite.select("push/")), listener)
    runs, expected_s = listener.told[0]
    assert runs == 2
    assert expected_s > 0.1
    assert [told if isinstance(told, str) else told.status for told in listener.told[1:]] == [
        *("begin block 1 push", "idle", "ok", "end block 1 push"),
        *("begin block 2 push", "idle", "ok", "end block 2 push"),
    ]
    assert record.not_measured == ["criterion fast: its cells were filtered out"]
    assert [c.id for c in record.criteria] == ["quiet"]


def test_the_spread_of_an_arm_and_its_repetition_is_recorded(suite, request_for) -> None:
    limits = tuple(dataclasses.replace(c, kind="limit") for c in suite.criteria)
    timed = dataclasses.replace(suite, criteria=limits).select("floor")
    record, _ = run_suite(request_for(timed), Listener())
    (control,) = record.controls
    assert (control.workload, control.metric, control.n) == ("floor", "latency_p50_s", 2)
    assert control.spread is not None
    assert control.spread >= 0


def test_an_exhausted_budget_keeps_what_there_is(suite, request_for) -> None:
    listener = Listener()
    record, folder = run_suite(request_for(suite, budget_s=1e-9), listener)
    assert (record.ended, record.verdict, record.exit_code) == ("budget", "budget exhausted", 6)
    assert len(listener.observations) == 1
    assert (record.blocks_planned, record.blocks_done) == (2, 0)
    assert record.not_measured == ["5 of 6 planned observations were not made"]
    assert (folder / "report.html").is_file()


def test_a_budget_that_suffices_changes_nothing(suite, request_for) -> None:
    record, _ = run_suite(request_for(suite.select("floors/"), budget_s=600.0), Listener())
    assert (record.ended, record.exit_code) == ("complete", 0)


def test_an_interrupted_run_keeps_what_there_is(suite, request_for) -> None:
    listener = Listener(interrupt, at=2)
    record, folder = run_suite(request_for(suite), listener)
    assert (record.ended, record.verdict, record.exit_code) == ("interrupted", "interrupted", 130)
    assert record.reason == "interrupted after 2 cells, which are kept"
    assert Store(folder).observations() == listener.observations
    assert json.loads((folder / "run.json").read_bytes())["exit_code"] == 130
    assert (folder / "report.md").is_file()
    assert record.not_measured == ["4 of 6 planned observations were not made"]


def test_a_run_interrupted_before_anything_ended_is_reported_too(suite, request_for) -> None:
    listener = Listener()
    listener.cell = lambda name: interrupt()
    record, folder = run_suite(request_for(suite), listener)
    assert (record.ended, record.exit_code, record.cells) == ("interrupted", 130, [])
    assert (folder / "report.html").is_file()


def test_a_failure_is_named_and_its_log_kept(suite, request_for) -> None:
    idle = dataclasses.replace(
        suite.workloads["idle"], params={**suite.workloads["idle"].params, "clients": 0}
    )
    broken = dataclasses.replace(suite.select("push"), workloads={**suite.workloads, "idle": idle})
    record, folder = run_suite(request_for(broken), Listener())
    assert (record.verdict, record.exit_code) == ("failed", 3)
    assert record.not_measured[-1].startswith("push idle: failed: ConfigError")
    assert len(list((folder / "logs").iterdir())) == 2


def test_nothing_to_run_is_said(suite, request_for) -> None:
    record, folder = run_suite(request_for(suite.select("nothing")), Listener())
    assert (record.verdict, record.exit_code) == ("nothing ran", 5)
    assert record.not_measured == [
        "criterion fast: its cells were filtered out",
        "criterion quiet: its cells were filtered out",
    ]
    assert not (folder / "logs").exists()
    assert (folder / "report.html").is_file()


def test_a_folder_that_is_taken_is_left_alone(suite, request_for, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "short_commit", lambda: "0a1b2c3")
    monkeypatch.setattr(runner, "datetime", Clock)
    folders = [run_suite(request_for(suite.select("nothing")), Listener())[1] for _ in range(3)]
    name = "20250102T030405Z-small-0a1b2c3"
    assert [folder.name for folder in folders] == [name, f"{name}-2", f"{name}-3"]
    assert Store(folders[1]).read_run().run_id == f"{name}-2"
    assert Store(folders[0]).read_run().started_utc == "2025-01-02T03:04:05Z"


class Clock:
    """Stands still."""

    @staticmethod
    def now(zone: Any) -> Any:
        from datetime import datetime

        return datetime(2025, 1, 2, 3, 4, 5, tzinfo=zone)


def test_a_place_without_room_for_a_folder_is_a_wrong_argument(suite, tmp_path: Path) -> None:
    occupied = tmp_path / "occupied"
    occupied.write_text("a file")
    with pytest.raises(ConfigError, match=r"--output: no folder can be made in .*occupied: Not a directory"):
        run_suite(Request(suite, 0, occupied, "fedbench run"), Listener())


@pytest.mark.parametrize(
    ("dirty", "stalled", "warnings"),
    [
        (False, 0.25, []),
        (None, None, []),
        (True, 0.0, ["the checkout has uncommitted changes"]),
        (False, 0.26, ["before the run, tasks waited for a core 26% of the time"]),
    ],
)
def test_what_makes_a_run_hard_to_trust_is_said(
    suite,
    request_for,
    monkeypatch: pytest.MonkeyPatch,
    dirty: bool | None,
    stalled: float | None,
    warnings: list[str],
) -> None:
    monkeypatch.setattr(runner, "fingerprint", lambda: {"dirty": dirty})
    monkeypatch.setattr(runner, "pressure", lambda: {"load": [0.0] * 3, "stall_share": {"cpu": stalled}})
    record, _ = run_suite(request_for(suite.select("nothing")), Listener())
    assert [w.split(":")[0] for w in record.warnings] == warnings
    assert record.environment["after"]["stall_share"] == {"cpu": stalled}


def test_a_load_generator_that_lags_voids_its_cell(suite, request_for, monkeypatch) -> None:
    monkeypatch.setattr(runner, "fingerprint", lambda: {"dirty": False})
    monkeypatch.setattr(runner, "pressure", lambda: {"load": [0.0] * 3, "stall_share": {"cpu": 0.0}})
    late = Observation(
        block=1, order=1, arm="push", stack="push", loop="uvloop", mode="memory", workload="push_notify",
        kind="push_notify", params={}, status="ok", metrics={"lag_p99_s": 0.011},
    )  # fmt: skip

    class Late:
        def __init__(self, log_dir: Path) -> None:
            pass

        def run(self, arm_run: ArmRun, on_cell: Callable[[str], None]) -> Any:
            yield late

    monkeypatch.setattr(runner, "Executor", Late)
    record, _ = run_suite(request_for(suite.select("push")), Listener())
    assert record.warnings == [
        "the load generator lagged more than 10 ms at p99, latencies may be void: push push_notify"
    ]


def test_what_is_measured_is_on_record_after_every_worker(suite, request_for, tmp_path: Path) -> None:
    seen = []

    def look() -> None:
        (folder,) = (tmp_path / "results").iterdir()
        if (folder / "run.json").exists():
            seen.append(Store(folder).read_run())

    listener = Listener()
    listener.arm_done = lambda arm_run: look()
    record, _ = run_suite(request_for(suite), listener)
    assert [len(kept.cells) for kept in seen] == [0, 1, 2, 3, 3, 3]
    assert {kept.ended for kept in seen} == {"interrupted"}
    assert [kept.blocks_done for kept in seen] == [0, 0, 0, 1, 1, 1]
    assert record.ended == "complete"


def test_the_order_of_single_cells_names_each(suite, request_for) -> None:
    record, _ = run_suite(request_for(dataclasses.replace(suite, tree="cell", blocks=1)), Listener())
    (order,) = record.order
    assert sorted(order) == ["again/floor", "floors/floor", "push/idle"]


def test_two_runs_never_share_a_folder(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: make_folder(tmp_path / "run"), range(40)))
    assert len(set(made)) == 40


def test_a_machine_that_was_busy_before_is_told(suite, request_for, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = iter([0.9])
    monkeypatch.setattr(
        runner, "pressure", lambda: {"load": [0.0], "stall_share": {"cpu": next(shares, 0.0)}}
    )
    record, _ = run_suite(request_for(suite.select("push/")), Listener())
    assert any(warning.startswith("before the run, tasks waited") for warning in record.warnings)
