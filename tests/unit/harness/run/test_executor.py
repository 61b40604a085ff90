import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.records.schema import Observation
from harness.run import executor as executor_module
from harness.run import probing, process
from harness.run.executor import Executor
from harness.run.plan import ArmRun
from tests.pace import limit_s

pytestmark = pytest.mark.slow

PARENT = """
import sys
from pathlib import Path
from harness.run.executor import Executor
from harness.run.plan import ArmRun
from harness.suite import Arm, WorkloadSpec
idle = WorkloadSpec("idle", "idle_federation", {"clients": 1, "idle_s": 60.0})
arm = ArmRun(1, 1, Arm("push", "push", "memory", "asyncio", {}, ("idle",)), (idle,))
list(Executor(Path(sys.argv[1])).run(arm, lambda name: print(name, flush=True)))
"""


@pytest.fixture
def executor(tmp_path: Path) -> Executor:
    return Executor(tmp_path)


def nothing(name: str) -> None:
    """Nobody wants to know which workload begins."""


def on(name: str, act: Callable[[], None]) -> Callable[[str], None]:
    """Act when a workload begins."""
    return lambda begun: act() if begun == name else None


def endings(observations: list[Observation]) -> list[tuple[str, str]]:
    return [(o.workload, o.status) for o in observations]


def test_an_arm_is_run_and_measured_from_outside(executor, arm_run, tmp_path: Path, workers) -> None:
    begun: list[str] = []
    made = list(executor.run(arm_run("push", "memory_round", "rpc_ping"), begun.append))
    assert endings(made) == [("memory_round", "ok"), ("rpc_ping", "ok")]
    assert begun == ["memory_round", "rpc_ping"]
    memory, ping = (o.metrics for o in made)
    assert memory["memory_peak_bytes"] > 10e6
    assert "memory_peak_bytes" not in ping
    assert 0 < ping["latency_p50_s"] < ping["latency_p99_bound_s"]
    assert ping["cpu_s_per_op"] > 0
    assert made[1].elapsed_s > 0
    assert made[1].operations == 320
    assert (made[1].stack, made[1].loop, made[1].mode, made[1].kind) == (
        "push",
        "asyncio",
        "memory",
        "rpc_ping",
    )
    assert workers() == []
    (log,) = tmp_path.iterdir()
    assert "INFO" in log.read_text()


def test_each_cell_tells_what_others_did_meanwhile(executor, arm_run) -> None:
    made = list(executor.run(arm_run("push", "rpc_ping", "idle_federation", "floor"), nothing))
    assert made[0].disturbance != made[1].disturbance
    for observation in made[:2]:
        assert observation.disturbance is not None
        assert 0 <= observation.disturbance.others_cores <= len(os.sched_getaffinity(0))
    assert made[2].disturbance is None  # it could not be measured


def test_processes_that_end_within_the_window_have_their_cpu_time_in_it(executor, arm_run) -> None:
    (made,) = executor.run(arm_run("floors", "import_time"), nothing)
    assert made.status == "ok"
    cpu_s = made.metrics["cpu_s_per_op"]
    assert cpu_s is not None
    assert cpu_s > 0.02  # what a new interpreter takes at the least
    assert made.metrics["wakeups_per_op"] is None
    assert made.missing["wakeups_per_op"] == probing.CAME_AND_WENT


def test_a_wrong_result_fails_its_workload_alone_and_keeps_the_log(executor, arm_run, tmp_path: Path) -> None:
    made = list(executor.run(arm_run("push", "digits_training", "floor", "rpc_ping"), nothing))
    assert endings(made) == [("digits_training", "failed"), ("floor", "unsupported"), ("rpc_ping", "ok")]
    assert made[0].reasons[0].endswith("is below 0.999")
    assert made[0].metrics == {}
    assert len(list(tmp_path.iterdir())) == 1


def test_what_a_stack_cannot_do_is_unsupported(executor, arm_run, tmp_path: Path) -> None:
    made = list(executor.run(arm_run("floors", "rpc_ping", "floor"), nothing))
    assert endings(made) == [("rpc_ping", "unsupported"), ("floor", "ok")]
    assert made[0].reasons == ["floors are operations of the event loop, not a federation"]
    assert made[1].metrics["cpu_cores"] is None
    assert made[1].missing["cpu_cores"].endswith("holds what sets the operation up, too")
    assert list(tmp_path.iterdir()) == [], "nothing was logged"


def test_wrong_settings_fail_every_workload_of_the_arm(executor, arm_run) -> None:
    made = list(executor.run(arm_run("push", "rpc_ping", "idle_federation", interval_s=1.0), nothing))
    assert endings(made) == [("rpc_ping", "failed"), ("idle_federation", "failed")]
    assert made[0].reasons == ["ValueError: the stack 'push' has no settings, found interval_s"]
    assert made[0].params["interval_s"] == 1.0


def test_a_worker_that_is_killed_fails_the_rest_of_its_arm(
    executor, arm_run, tmp_path: Path, workers
) -> None:
    def kill() -> None:
        os.kill(workers()[0], signal.SIGKILL)

    run = arm_run("polling", "idle_federation", "rpc_ping", "memory_round")
    made = list(executor.run(run, on("rpc_ping", kill)))
    assert endings(made) == [("idle_federation", "ok"), ("rpc_ping", "failed"), ("memory_round", "failed")]
    (log,) = tmp_path.iterdir()
    last_line = log.read_text().strip().splitlines()[-1]
    assert last_line.startswith(("INFO ", "WARNING "))
    assert made[1].reasons == [f"the worker ended with SIGKILL: {last_line}"]
    assert made[2].reasons == [f"its process had ended before: {made[1].reasons[0]}"]
    assert workers() == []


def with_timeout(run: ArmRun, name: str, timeout_s: float) -> ArmRun:
    limited = (replace(w, timeout_s=timeout_s) if w.name == name else w for w in run.workloads)
    return replace(run, workloads=tuple(limited))


def test_a_workload_that_hangs_is_ended_and_those_behind_it_run_in_a_fresh_process(
    executor, arm_run, tmp_path: Path, workers
) -> None:
    seen: list[int] = []

    def stop(name: str) -> None:
        seen.append(workers()[0])
        if name == "idle_federation":
            os.kill(workers()[0], signal.SIGSTOP)

    run = arm_run("push", "idle_federation", "rpc_ping", "memory_round")
    made = list(executor.run(with_timeout(run, "idle_federation", 0.2), stop))
    assert endings(made) == [("idle_federation", "timeout"), ("rpc_ping", "ok"), ("memory_round", "ok")]
    assert made[0].reasons == ["it was not done within its timeout of 0.2 s"]
    note = "in a fresh process: idle_federation had run into its timeout before"
    assert [o.reasons for o in made[1:]] == [[note], [note]]
    assert made[1].metrics["latency_p50_s"] > 0
    assert len(set(seen)) == 2
    assert workers() == []
    assert len(list(tmp_path.iterdir())) == 2  # the log of the one that hung explains


def test_a_timeout_holds_while_the_worker_idles_too(executor, arm_run, workers) -> None:
    run = with_timeout(arm_run("push", "idle_federation"), "idle_federation", 0.4)
    run.workloads[0].params["idle_s"] = 30.0
    start_s = time.monotonic()
    (made,) = executor.run(run, nothing)
    assert (made.status, made.metrics) == ("timeout", {})
    assert time.monotonic() - start_s < limit_s(10)
    assert workers() == []


def test_every_workload_may_run_into_its_timeout(executor, arm_run, workers) -> None:
    run = arm_run("push", "rpc_ping", "idle_federation")
    for name in ("rpc_ping", "idle_federation"):
        run = with_timeout(run, name, 1e-6)
    assert endings(list(executor.run(run, nothing))) == [
        ("rpc_ping", "timeout"),
        ("idle_federation", "timeout"),
    ]
    assert workers() == []


def test_a_consumer_that_stops_leaves_no_worker(executor, arm_run, workers) -> None:
    running = executor.run(arm_run("push", "rpc_ping", "idle_federation"), nothing)
    assert next(running).status == "ok"
    assert len(workers()) == 1
    running.close()
    assert workers() == []


def test_an_interruption_leaves_no_worker(executor, arm_run, workers) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(executor.run(arm_run("push", "memory_round"), on("memory_round", interrupt)))
    assert workers() == []


def test_a_worker_dies_with_its_parent(tmp_path: Path, workers, ends_within) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "idle\n"
        (worker,) = workers(parent.pid)
        pidfd = os.pidfd_open(worker)
        parent.kill()
    assert ends_within(pidfd, 5.0)


# workers that are not what they should be


def test_a_worker_that_does_not_even_start_is_explained(worker_script, arm_run) -> None:
    logs = worker_script("echo first; echo no module named numpy >&2; exit 3")
    made = list(Executor(logs).run(arm_run("push", "rpc_ping", "floor"), nothing))
    assert endings(made) == [("rpc_ping", "failed"), ("floor", "failed")]
    assert made[0].reasons == ["the worker ended with exit code 3: no module named numpy"]
    assert len(list(logs.iterdir())) == 1


def test_a_worker_that_ends_in_silence_is_explained(worker_script, arm_run) -> None:
    logs = worker_script("kill -ABRT $$")
    (made,) = Executor(logs).run(arm_run("push", "rpc_ping"), nothing)
    assert made.reasons == ["the worker ended with SIGABRT: it wrote nothing"]


def test_a_worker_that_closes_its_pipe_and_lives_on_is_ended(
    worker_script, arm_run, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = worker_script('eval "exec $5>&-"; sleep 60')
    monkeypatch.setattr(process, "EDGE_S", 1.0)
    made = list(Executor(logs).run(arm_run("push", "rpc_ping", "floor"), nothing))
    assert endings(made) == [("rpc_ping", "timeout"), ("floor", "failed")]
    assert made[0].reasons == ["the worker closed its pipe and did not end"]


def test_a_worker_that_has_done_everything_and_does_not_end_has_failed(
    worker_script, arm_run, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = '{"type":"finished","workload":"floor","status":"ok","reasons":[],"outcome":{}}'
    logs = worker_script(f"echo '{done}' >&$5; eval \"exec $5>&-\"; sleep 60")
    monkeypatch.setattr(process, "EDGE_S", 1.0)
    made = list(Executor(logs).run(arm_run("floors", "floor"), nothing))
    assert endings(made) == [("floor", "failed")]
    assert made[0].reasons == ["the worker closed its pipe and did not end"]
    assert made[0].metrics == {}
    assert len(list(logs.iterdir())) == 1


def test_a_metric_that_nobody_knows_fails_its_cell_only(executor, arm_run, monkeypatch) -> None:
    def refuse(sampled, outcome):
        raise ValueError("unknown metrics ['speed']")

    monkeypatch.setattr(executor_module, "derive", refuse)
    (observation,) = executor.run(arm_run("push", "rpc_ping"), nothing)
    assert (observation.status, observation.reasons) == ("failed", ["unknown metrics ['speed']"])
    assert observation.metrics == {}


@pytest.mark.parametrize(("ending", "how"), [("exit 4", "exit code 4"), ("kill -SEGV $$", "SIGSEGV")])
def test_a_worker_that_ends_badly_after_its_work_has_failed(worker_script, arm_run, ending, how) -> None:
    done = '{"type":"finished","workload":"floor","status":"ok","reasons":[],"outcome":{}}'
    logs = worker_script(f"echo '{done}' >&$5; echo ERROR harness late >&2; {ending}")
    (made,) = Executor(logs).run(arm_run("floors", "floor"), nothing)
    assert (made.status, made.reasons) == ("failed", [f"the worker ended with {how}: ERROR harness late"])


def test_a_line_that_nobody_understands_fails_the_arm(worker_script, arm_run) -> None:
    logs = worker_script('echo \'{"type":"riddle"}\' >&$5; sleep 60')
    made = list(Executor(logs).run(arm_run("floors", "floor", "rpc_ping"), nothing))
    assert endings(made) == [("floor", "failed"), ("rpc_ping", "failed")]
    assert "riddle" in made[0].reasons[0]


def test_the_code_in_the_current_folder_is_not_what_is_measured(
    executor, arm_run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    impostor = tmp_path / "elsewhere" / "harness"
    impostor.mkdir(parents=True)
    (impostor / "__init__.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(impostor.parent)
    assert endings(list(executor.run(arm_run("push", "rpc_ping"), nothing))) == [("rpc_ping", "ok")]
