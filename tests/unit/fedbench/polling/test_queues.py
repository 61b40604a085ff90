"""Queue mail: what arrives is what was put, whatever happens to it afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from fedbench.errors import LocalProtocolError
from fedbench.fleet import starting
from fedbench.loop import in_thread
from fedbench.messages import Kind, Message
from fedbench.polling.queues import QueueMail, flatten, make, restore
from fedbench.tensors.model import ModelState


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
