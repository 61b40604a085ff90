"""Polling by HTTP: the same results as in memory, and deaths that only a deadline shows."""

from __future__ import annotations

import asyncio
import logging
import os
import socket

import numpy as np
import pytest

from fedbench import DeadlineExceeded, Federation, ModelState, RegistrationError, TransportError
from fedbench.messages import Kind

CALL = {"args": [], "kwargs": {}}


def mapping(mode="network", learner="SimpleLearner", own=(), **trainer):
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


def steppers(**trainer):
    return mapping(learner="tests.fakes.fleet:Stepper", own=("pid", "wait", "versions"), **trainer)


async def test_polling_by_http_trains_the_model_of_memory_mode_bit_for_bit():
    expected = await Federation.from_mapping(mapping("memory")).run()
    history = await Federation.from_mapping(mapping()).run()
    assert history.model == expected.model
    assert [record.failures for record in history.rounds] == [{}, {}]


async def test_every_client_is_a_process_and_gone_afterwards(caplog):
    caplog.set_level(logging.INFO)
    federation = Federation.from_mapping(steppers())
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


async def test_a_killed_client_shows_by_its_deadline_and_stopping_does_not_wait_for_it():
    federation = Federation.from_mapping(steppers())
    async with federation:
        pid = (await federation.learners()[1].call(Kind.RPC_REQUEST, "pid", CALL, None, 10)).body
        federation.nodes.lose("yaml_client_2")
        with pytest.raises(DeadlineExceeded):
            await federation.learners()[1].ping(b"x" * 1_000_000, deadline_s=0.1)
        assert await federation.learners()[0].ping(1) == 1
        assert pid > 0


async def test_a_client_that_never_registers_is_named(monkeypatch):
    monkeypatch.setattr("fedbench.polling.nodes.REGISTRATION_TIMEOUT_S", 0.001)
    federation = Federation.from_mapping(mapping(learner="tests.fakes.fleet:Late"))
    with pytest.raises(RegistrationError, match="yaml_client_1 did not register"):
        async with asyncio.timeout(20):
            await federation.start()


async def test_a_port_in_use_is_told_before_any_process_is_started():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        config = mapping()
        config["server"]["transport"] = {"type": "network", "host": "127.0.0.1", "port": port}
        federation = Federation.from_mapping(config)
        with pytest.raises(TransportError, match=f"port {port}: Address already in use"):
            await federation.start()
    with pytest.raises(KeyError):
        federation.nodes.lose("yaml_client_1")
