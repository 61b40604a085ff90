"""Polling processes, by queues and by HTTP: the same results, and deaths that only a deadline shows."""

from __future__ import annotations

import asyncio
import logging
import os

import numpy as np
import pytest

from fedbench import DeadlineExceeded, Federation, ModelState, RegistrationError
from fedbench.messages import Kind
from tests.pace import limit_s

CALL = {"args": [], "kwargs": {}}


def mapping(mode, learner="SimpleLearner", own=(), **trainer):
    return {
        "mode": mode,
        "architecture": "polling",
        "server": {"trainer": {"args": {"rounds": 2, "deadline_s": 20.0, **trainer}}},
        "clients": {
            "count": 2,
            "learner": {"type": learner},
            "rpc": {"allowed_methods": ["train", "evaluate", "ping", *own]},
        },
        "polling": {"warn_on_timeout": False},
    }


def steppers(mode, **trainer):
    return mapping(mode, learner="tests.fakes.fleet:Stepper", own=("pid", "wait", "versions"), **trainer)


@pytest.fixture(params=["process", "network"])
def mode(request):
    return request.param


async def test_processes_train_the_model_of_memory_mode_bit_for_bit(mode):
    expected = await Federation.from_mapping(mapping("memory")).run()
    history = await Federation.from_mapping(mapping(mode)).run()
    assert history.model == expected.model
    assert [record.failures for record in history.rounds] == [{}, {}]


async def test_every_client_is_a_process_and_gone_afterwards(mode, caplog):
    caplog.set_level(logging.INFO)
    federation = Federation.from_mapping(steppers(mode))
    async with federation:
        answers = [await p.call(Kind.RPC_REQUEST, "pid", CALL, None, 10) for p in federation.learners()]
        pids = [answer.body for answer in answers]
        assert len({*pids, os.getpid()}) == 3
        model = ModelState.from_arrays({"w": np.ones(1000, np.float32)}, 3)
        assert set((await federation.broadcast(model)).values()) == {None}
        answer = await federation.learners()[0].call(Kind.RPC_REQUEST, "versions", CALL, None, 10)
        assert answer.body == [3]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not [record for record in caplog.records if record.levelno > logging.INFO]


async def test_a_killed_client_shows_by_its_deadline_and_stopping_does_not_wait_for_it(mode):
    federation = Federation.from_mapping(steppers(mode))
    async with federation:
        pid = (await federation.learners()[1].call(Kind.RPC_REQUEST, "pid", CALL, None, 10)).body
        federation.nodes.lose("yaml_client_2")
        with pytest.raises(DeadlineExceeded):
            await federation.learners()[1].ping(b"x" * 1_000_000, deadline_s=0.1)
        assert await federation.learners()[0].ping(1) == 1
        assert pid > 0


async def test_a_client_that_never_registers_is_named(mode, monkeypatch):
    monkeypatch.setattr("fedbench.polling.nodes.REGISTRATION_TIMEOUT_S", 0.001)
    federation = Federation.from_mapping(mapping(mode, learner="tests.fakes.fleet:Late"))
    with pytest.raises(RegistrationError, match="yaml_client_1 did not register"):
        async with asyncio.timeout(limit_s(20)):
            await federation.start()
