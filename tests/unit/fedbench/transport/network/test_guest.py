from __future__ import annotations

import asyncio
import logging
from types import SimpleNamespace

import numpy as np
import pytest

from fedbench.errors import ConnectionBroken, ConnectionClosed, PeerLost
from fedbench.messages import Kind, Message
from fedbench.tensors.model import ModelState
from fedbench.tensors.store import HEAP
from fedbench.throttle import Throttle
from fedbench.transport.inbox import Limits
from fedbench.transport.network import guest as guests
from fedbench.transport.network.connection import Host, Meeting, NetworkConnection
from fedbench.transport.network.encoding import Encoder
from fedbench.transport.network.guest import Event, Guest, LoopLink
from fedbench.transport.network.liveness import Lazily
from tests.fakes.clock import FakeClock

WINDOW_S = 60.0


async def settle():
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
def made():
    clock = FakeClock()
    host = Host(
        clock, HEAP, Lazily(clock), Encoder(), Throttle(logging.getLogger("fedbench.transport"), clock)
    )
    meeting = Meeting(1, b"secret", 0, 30.0, WINDOW_S)
    near = NetworkConnection("curl", "server", Limits(), meeting, host)
    far = NetworkConnection("server", "curl", Limits(), meeting, host)
    got = []

    def receive(message, delivery):
        got.append(message)
        delivery.apply()

    far.receiver = receive
    return SimpleNamespace(clock=clock, host=host, near=near, far=far, got=got)


def joined(made):
    guest = Guest(made.near, made.clock, WINDOW_S)
    LoopLink.join(made.near, made.far, made.clock)
    return guest


def to_guest(kind, method="", body=None, model=None, number=0):
    return Message(kind, "server", "curl", method, body, model, number)


async def test_messages_pass_both_ways(made):
    guest = joined(made)
    await guest.notify("up", 1)
    assert [(m.method, m.body) for m in made.got] == [("up", 1)]
    receipt = made.far.send(to_guest(Kind.CLIENT_NOTIFY, "down", 2))
    await receipt.applied
    assert await guest.next_event() == Event("down", {"data": 2})


async def test_answers_find_who_asked(made):
    guest = joined(made)
    asking = asyncio.create_task(guest.ask(Kind.RPC_REQUEST, "ping", {}, 5.0))
    await settle()
    (request,) = made.got
    assert request.deadline_ns > request.sent_ns
    made.far.send(to_guest(Kind.RPC_RESPONSE, "", "pong", number=99))
    made.far.send(to_guest(Kind.RPC_RESPONSE, "", "pong", number=request.correlation_id))
    assert (await asking).body == "pong"


async def test_two_models_are_kept(made):
    guest = joined(made)
    for version in (1, 2, 3):
        model = ModelState.from_arrays({"w": np.ones(2)}, version)
        await made.far.send(to_guest(Kind.MODEL_PUSH, "model", None, model)).applied
    assert list(guest.models) == [2, 3]


async def test_events_that_nobody_reads_are_bounded(made, monkeypatch):
    monkeypatch.setattr(guests, "MAX_EVENTS", 2)
    joined(made)
    receipts = [made.far.send(to_guest(Kind.CLIENT_NOTIFY, "x")) for _ in range(3)]
    await settle()
    assert [receipt._handler_error is None for receipt in receipts] == [True, True, False]


async def test_silence_ends_it_and_a_sign_of_life_does_not(made):
    guest = joined(made)
    made.clock.advance(WINDOW_S - 1)
    guest.touch()
    made.clock.advance(WINDOW_S - 1)
    assert not made.near.closed
    made.clock.advance(2)
    await settle()
    with pytest.raises(ConnectionBroken):
        made.far.send(to_guest(Kind.DATA))
    assert await guest.next_event() is None
    guest.touch()
    assert guest._timer is None


async def test_the_end_fails_who_waits_for_an_answer(made):
    guest = joined(made)
    asking = asyncio.create_task(guest.ask(Kind.RPC_REQUEST, "ping", {}, 5.0))
    await settle()
    made.far.close()
    with pytest.raises(ConnectionClosed, match="the connection is over"):
        await asking


async def test_a_link_that_is_cut_is_lost_on_both_ends(made):
    joined(made)
    made.near.abort("killed")
    with pytest.raises(PeerLost):
        made.far.send(to_guest(Kind.DATA))


async def test_a_link_within_one_process_needs_no_beats(made):
    LoopLink.join(made.near, made.far, made.clock)
    await settle()
    assert made.clock.pending == 0
    made.clock.advance(1e6)
    assert made.near.linked
    assert made.far.linked


async def test_a_call_is_refused(made):
    joined(made)
    made.far.send(to_guest(Kind.RPC_REQUEST, "train", {}, number=3))
    await settle()
    (answer,) = made.got
    assert (answer.kind, answer.method, answer.correlation_id) == (Kind.RPC_RESPONSE, "error", 3)
