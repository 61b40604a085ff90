"""Queue mail: what arrives is what was put, whatever happens to it afterwards."""

from __future__ import annotations

import asyncio
import logging
import math
import queue
from types import SimpleNamespace

import numpy as np
import pytest

from fedbench.config import PollingConfig
from fedbench.errors import LocalProtocolError
from fedbench.fleet import starting
from fedbench.loop import in_thread
from fedbench.messages import Kind, Message
from fedbench.polling.client import PollingClient
from fedbench.polling.queues import QueueMail, flatten, make, restore
from fedbench.tensors.model import ModelState

IDLE = SimpleNamespace(learner=SimpleNamespace())
"""A dispatcher that is never called."""


@pytest.fixture
def mail():
    made = QueueMail({("b", "a"): make(starting.context("forkserver"))})
    yield made
    made.forget("a")


def test_a_message_is_the_same_after_the_journey():
    model = ModelState.from_arrays({"w": np.arange(6.0).reshape(2, 3), "n": np.array(3)}, 4)
    message = Message(Kind.MODEL_PUSH, "a", "b", "model", {"x": [1, b"2"]}, model, 7, 8, sent_ns=9)
    restored = restore(flatten(message))
    assert restored == message
    assert restored.tensors.version == 4
    assert restored.tensors["w"].ctypes.data != model["w"].ctypes.data


def test_what_is_not_plain_data_is_refused_at_once(mail):
    with pytest.raises(LocalProtocolError, match="cannot carry"):
        mail.put(Message(Kind.DATA, "a", "b", body=[lambda: 1]))


async def test_changing_what_was_put_changes_nothing(mail):
    body = [[1]]
    mail.put(Message(Kind.DATA, "a", "b", body=body))
    body[0].append(2)
    assert (await mail.receive("b", "a", 10.0, 0.001)).body == [[1]]


async def test_mail_is_first_in_first_out_and_none_is_none(mail):
    assert mail.look("b", "a") is None
    assert mail.look("b", "nobody") is None
    for number in range(3):
        mail.put(Message(Kind.DATA, "a", "b", body=number))
    assert [(await mail.receive("b", "a", 10.0, 0.001)).body for _ in range(3)] == [0, 1, 2]


async def test_mail_for_a_forgotten_node_vanishes(mail):
    mail.put(Message(Kind.DATA, "a", "b", body=b"x" * 1_000_000))
    mail.withdraw("b", "a", 0)
    await in_thread(mail.forget, "b")
    mail.put(Message(Kind.DATA, "a", "b"))
    assert mail.look("b", "a") is None


class Counted:
    """A queue that is always empty and remembers when it was looked at."""

    def __init__(self, clock):
        self.clock, self.looks = clock, []

    def get_nowait(self):
        self.looks.append(round(self.clock.now, 6))
        raise queue.Empty

    def put(self, _):
        pass


class Clock:
    """Time that passes only in sleeps."""

    now = 0.0

    def time(self):
        return self.now

    async def sleep(self, seconds):
        assert seconds >= 0
        self.now += seconds
        if self.now > 0.0551:
            raise asyncio.CancelledError


async def test_the_one_queue_is_looked_at_in_its_turn_among_the_ids_that_the_server_might_have(
    monkeypatch, caplog
):
    clock = Clock()
    box = Counted(clock)
    mail = QueueMail({("c", "hub"): box, ("hub", "c"): Counted(clock)})
    client = PollingClient(IDLE, "c", mail, PollingConfig(("memory_server", "fed_server", "hub"), 0.01, 0.01))
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    monkeypatch.setattr(asyncio.get_running_loop(), "time", clock.time, raising=False)
    with pytest.raises(asyncio.CancelledError):
        await client.run("hub")
    monkeypatch.undo()
    assert box.looks == pytest.approx([0.02, 0.05])
    warnings = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    ids = ["memory_server", "fed_server", "hub", "memory_server", "fed_server"]
    assert warnings == [f"receive timed out: c found nothing from {each} within 0.01 s" for each in ids]


async def test_a_receive_without_end_looks_until_there_is_something(mail, monkeypatch):
    real, naps = asyncio.sleep, []

    async def sleep(seconds):
        naps.append(seconds)
        if len(naps) == 3:
            mail.put(Message(Kind.DATA, "a", "b", body=1))
        await real(0.001)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    assert (await mail.receive("b", "a", math.inf, 0.01)).body == 1
    assert set(naps) == {0.01}
