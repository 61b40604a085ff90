"""What process mode adds to federations of processes: shared memory, and who sweeps it."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from fedbench import Federation, ModelState
from fedbench.processes import ProcessNodes
from tests.fakes.federations import LEARNERS, mapping, model_of, until


@pytest.mark.parametrize("learner", [f"{LEARNERS}:Stepper", "SimpleLearner"])
async def test_memory_mode_in_shared_memory_trains_the_model_of_processes_bit_for_bit(learner):
    expected = await model_of("process", learner=learner)
    assert await model_of("memory", learner=learner, store="shared") == expected


async def test_spawned_clients_serve_too():
    assert (await model_of("process", clients=1, fleet={"start_method": "spawn"}))["w"][0] == 3


async def test_a_broadcast_writes_the_model_once_and_everybody_applies_it():
    federation = Federation.from_mapping(mapping("process"))
    async with federation:
        model = ModelState.from_arrays({"w": np.ones(1 << 16, np.float32)}, 5)
        assert set((await federation.broadcast(model)).values()) == {None}
        assert [await proxy.call_remote_method("versions") for proxy in federation.learners()] == [[5]] * 3
        assert await federation.learners()[0].get_model() == model
        assert federation.store.stats()["slots"] == 1
        assert federation.store.holds(federation.global_model)


async def test_a_stopped_client_keeps_no_model_of_each_round():
    trainer = {"rounds": 6, "quorum": 0.5, "deadline_s": 1.2}
    federation = Federation.from_mapping(mapping("process", clients=2, trainer=trainer))
    async with federation:
        stopped = await federation.learners()[1].call_remote_method("pid")
        os.kill(stopped, signal.SIGSTOP)
        try:
            history = await federation.run()
            leased = federation.store.stats()["leased"]
        finally:
            os.kill(stopped, signal.SIGCONT)
        reasons = [record.failures["yaml_client_2"] for record in history.rounds]
    assert reasons[0].endswith("within 1.2 s")
    assert "yaml_client_2 has not taken the last model yet" in reasons[-1]
    assert max(record.round_s for record in history.rounds[1:]) < 1, "nobody waits for it again"
    assert leased <= 3


async def test_an_update_that_no_room_is_left_for_fails_at_once_and_by_name():
    federation = Federation.from_mapping(
        mapping("process", clients=2, learner=f"{LEARNERS}:Cramped", trainer={"rounds": 2, "quorum": 0.5})
    )
    history = await federation.run()
    assert [record.arrived for record in history.rounds] == [("yaml_client_1",)] * 2
    for record in history.rounds:
        assert "TensorStoreFull" in record.failures["yaml_client_2"]
        assert record.round_s < 10


async def test_too_little_shared_memory_is_told_before_training(monkeypatch, caplog):
    monkeypatch.setattr("fedbench.tensors.segments.room", lambda: (1000, 64 << 20))
    await Federation.from_mapping(mapping("process", clients=2, trainer={"rounds": 1})).run()
    assert "/dev/shm has 1000 of 67108864 bytes free and 16128 may be needed: enlarge it" in caplog.text


async def test_what_a_killed_run_left_behind_is_swept_at_the_start(caplog, own_namespace):
    script = (
        f"from fedbench.tensors import segments; segments.NAMESPACE = {own_namespace}; "
        "s = segments.Segment(8192); print(s.name, flush=True)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", f"{script}; import os, signal; os.killpg(0, signal.SIGKILL)"],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as killed:
        name = killed.stdout.read().strip()
    assert os.path.exists(f"/dev/shm/{name}")
    async with Federation.from_mapping(mapping("process", clients=1)):
        pass
    assert not os.path.exists(f"/dev/shm/{name}")
    assert "segments of shared memory that a killed run left behind" in caplog.text


async def test_a_start_that_is_interrupted_leaves_nothing_and_complains_of_nothing(caplog):
    federation = Federation.from_mapping(mapping("process", learner=f"{LEARNERS}:Late", clients=2))
    starting = asyncio.create_task(federation.start())
    await until(lambda: federation.nodes.fleet.pid("yaml_client_2") is not None)
    pids = [federation.nodes.fleet.pid(f"yaml_client_{number}") for number in (1, 2)]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    gc.collect()
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_the_nodes_of_process_mode_are_these():
    federation = Federation.from_mapping(mapping("process"))
    assert isinstance(federation.nodes, ProcessNodes)
    federation.store.close()
