"""What is particular to memory; the common contract is in the conformance suite."""

import asyncio

import pytest

from fedbench.errors import ConnectionBroken, Overloaded, PeerLost, RemoteError, RoutingError
from fedbench.messages import Kind, Message
from fedbench.tensors.model import ModelState
from fedbench.transport.base import Limits
from fedbench.transport.connection import FENCED
from fedbench.transport.memory import Hub, MemoryConnection, MemoryTransport
from fedbench.transport.receipt import Outcome
from tests.pace import limit_s

A, B = "memory_client_1", "memory_server"


def message(method="event", body=None, kind=Kind.CLIENT_NOTIFY, source=A, target=B, tensors=None):
    return Message(kind, source, target, method, body, tensors)


def pair(limits=None):
    near, far = MemoryConnection.pair(A, B, 1, limits or Limits())
    return near, far


def opened(end, receiver):
    end.receiver = receiver
    end.start()


def test_a_message_is_handed_over_inside_send_and_tensors_by_reference():
    near, far = pair()
    model, seen = ModelState.from_arrays({"w": [1.0]}), []
    opened(far, lambda inbound, delivery: seen.append(inbound.tensors))
    receipt = near.send(message(tensors=model))
    assert seen[0] is model
    assert receipt.outcome is Outcome.ACKED


def test_a_body_of_atoms_is_not_copied_and_the_message_is_the_same():
    near, far = pair()
    sent, seen = message(body="text"), []
    opened(far, lambda inbound, delivery: seen.append(inbound))
    near.send(sent)
    assert seen[0] is sent


def test_the_stack_stays_flat_while_two_nodes_answer_each_other():
    near, far = pair()
    seen = []

    def bounce(connection, source, target):
        def receive(inbound, delivery):
            seen.append(inbound.body)
            if inbound.body < 5000:
                connection.send(message(body=inbound.body + 1, source=source, target=target))

        return receive

    opened(near, bounce(near, A, B))
    opened(far, bounce(far, B, A))
    near.send(message(body=0))
    assert seen == list(range(5001))


def test_what_waits_for_a_busy_peer_is_bounded():
    near, far = pair(Limits(messages=3))
    outcomes = []

    def busy(inbound, delivery):
        if not outcomes:
            for _ in range(4):
                try:
                    outcomes.append(near.send(message()).outcome)
                except Overloaded as error:
                    outcomes.append(str(error))
            assert near.ledger.balanced()

    opened(far, busy)
    near.send(message())
    assert outcomes[:3] == [Outcome.IN_FLIGHT] * 3
    assert "has 3 messages" in outcomes[3]
    assert near.ledger.counts()["acked"] == near.ledger.accepted == 4


async def test_data_sent_to_a_busy_peer_counts_against_its_inbox(caplog):
    hub = Hub()
    server, client = MemoryTransport(B, hub, limits=Limits(messages=3)), MemoryTransport(A, hub)
    await server.start_event_listener()
    connection = await client.connect(B)
    results = []

    def busy(source, data):
        for number in range(5):
            try:
                connection.send(message("", number, Kind.DATA))
                results.append("sent")
            except Overloaded:
                results.append("overloaded")

    server.register_event_handler("event", busy)
    connection.send(message())
    assert results == ["sent"] * 3 + ["overloaded"] * 2
    assert [await server.receive(B, A) for _ in range(3)] == [0, 1, 2]
    assert caplog.records == []
    await client.close()
    await server.close()


def test_death_while_messages_wait_loses_them_by_name():
    near, far = pair()
    receipts = []

    def die(inbound, delivery):
        receipts.append(near.send(message()))
        far.abort("killed")
        far.abort("again")

    opened(far, die)
    near.send(message())
    assert receipts[0].outcome is Outcome.LOST
    assert isinstance(receipts[0].error, PeerLost)
    assert receipts[0].error.reason == "killed"
    assert near.ledger.balanced()


def test_a_lone_end_can_be_aborted():
    lone = MemoryConnection(A, B, 1, Limits())
    lone.abort()
    assert lone.closed


async def test_an_end_without_an_owner_is_always_writable():
    near, _ = pair()
    await asyncio.wait_for(near.writable(), limit_s(5))


def test_memory_is_lossless_and_reports_death():
    assert MemoryConnection.lossless
    assert MemoryConnection.reports_death


def test_hub():
    hub = Hub()
    one, other = MemoryTransport(A, hub), MemoryTransport(B, hub)
    with pytest.raises(RoutingError, match="no such node listens"):
        hub.find(B, A)
    hub.add(A, one)
    hub.add(A, one)
    with pytest.raises(RoutingError, match="same id"):
        hub.add(A, other)
    hub.remove(A, other)
    assert hub.find(B, A) is one
    hub.remove(A, one)
    hub.remove(A, one)
    assert [hub.next_epoch(A, B), hub.next_epoch(B, A), hub.next_epoch(A, "x")] == [1, 2, 1]


async def test_transports_meet_in_one_hub_by_default():
    server, client = MemoryTransport("yaml_fed_server"), MemoryTransport("yaml_client_1")
    await server.start_event_listener()
    assert (await client.connect("yaml_fed_server")).peer_id == "yaml_fed_server"
    await server.close()
    await client.close()


async def test_a_newer_connection_of_a_pair_fences_off_the_older():
    hub = Hub()
    server, old, new = MemoryTransport(B, hub), MemoryTransport(A, hub), MemoryTransport(A, hub)
    await server.start_event_listener()
    first = await old.connect(B)
    second = await new.connect(B)
    with pytest.raises(ConnectionBroken, match=FENCED):
        first.send(Message(Kind.DATA, A, B))
    assert not second.closed
    assert second.epoch == 2
    await new.send(A, B, "newer")
    assert await server.receive(B, A) == "newer"
    for transport in (server, old, new):
        await transport.close()


@pytest.mark.parametrize("error", [asyncio.CancelledError, ValueError])
async def test_a_receiver_that_raises_holds_nothing_up(caplog, error):
    near, far = pair()
    seen, receipts = [], []

    def receive(inbound, delivery):
        seen.append(inbound.body)
        if inbound.body == 0:
            receipts.extend(near.send(message(body=number)) for number in (1, 2))
        if inbound.body < 2:
            raise error

    opened(far, receive)
    receipts.insert(0, near.send(message(body=0)))
    near.send(message(body=3))
    assert seen == [0, 1, 2, 3]
    for receipt in receipts[:2]:
        with pytest.raises(RemoteError, match=error.__name__):
            await receipt.applied
    assert len(caplog.records) == 2


def test_what_waits_is_handed_over_even_when_the_program_is_interrupted():
    near, far = pair()
    seen = []

    def receive(inbound, delivery):
        seen.append(inbound.body)
        if inbound.body == 0:
            near.send(message(body=1))
            raise KeyboardInterrupt

    opened(far, receive)
    with pytest.raises(KeyboardInterrupt):
        near.send(message(body=0))
    near.send(message(body=2))
    assert seen == [0, 1, 2]


def test_nothing_overtakes_what_came_before_the_start():
    near, far = pair()
    seen = []
    near.send(message(body=1))
    far.receiver = lambda inbound, delivery: seen.append(inbound.body)
    near.send(message(body=2))
    assert seen == []
    far.start()
    near.send(message(body=3))
    assert seen == [1, 2, 3]


def test_what_waits_may_exceed_the_bound_by_one_message():
    near, _ = pair(Limits(nbytes=1000))
    near.send(message(body=b"x" * 10_000))
    with pytest.raises(Overloaded):
        near.send(message())
