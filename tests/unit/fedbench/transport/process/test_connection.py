"""ProcessConnection beyond the contract of all transports: full pipes, sizes, rubbish."""

from __future__ import annotations

import asyncio
import itertools
import os

import numpy as np
import pytest

from fedbench.codec import envelope as envelopes
from fedbench.codec.frames import MAX_FRAME_BYTES, frame
from fedbench.errors import ConnectionBroken, LocalProtocolError, Overloaded, RemoteError, TensorStoreFull
from fedbench.messages import Kind, Message
from fedbench.tensors.model import ModelState
from fedbench.tensors.shared import SharedStore
from fedbench.tensors.store import Handle
from fedbench.transport.inbox import Limits
from fedbench.transport.process import connection as connections
from fedbench.transport.process.acks import Notes, encode_notes
from fedbench.transport.process.backend import ProcessTransport
from tests.conformance.backend import CLIENT, SERVER, Backend, notify, settle, within

_numbers = itertools.count()


@pytest.fixture
async def backend():
    exchange = f"connection-{next(_numbers)}"
    made = Backend("process", lambda node_id, **options: ProcessTransport(node_id, exchange, **options), None)
    async with made.closing():
        yield made


def stop_reading(connection):
    connection._loop.remove_reader(connection._peer.read_fd)


def write(connection, data):
    """Write what a hostile or broken peer might."""
    os.write(connection._peer.write_fd, data)


async def broken(connection):
    ended = asyncio.get_running_loop().create_future()
    connection.on_closed(lambda _, reason: ended.set_result(reason))
    return await within(ended)


# Full pipes ------------------------------------------------------------------------------------------------


async def test_what_the_pipe_does_not_take_waits_in_order_and_control_overtakes(backend):
    pair = await backend.make_pair()
    heard = []
    pair.server.subscribe(lambda message: heard.append((message.kind, message.body)))
    stop_reading(pair.far)
    for number in range(60):
        pair.near.send(notify("n", [number, b"x" * 3000]))
    pair.near.send(notify("", None, Kind.HEARTBEAT))
    assert len(pair.near._writer._outbox) > 30
    pair.far._loop.add_reader(pair.far._peer.read_fd, pair.far._readable)
    while len(heard) < 61:
        await asyncio.sleep(0.001)
    business = [body[0] for kind, body in heard if kind is Kind.CLIENT_NOTIFY]
    assert business == list(range(60))
    assert heard.index((Kind.HEARTBEAT, None)) < 40
    assert pair.balanced()


async def test_a_peer_that_does_not_read_is_bounded_and_its_end_loses_what_waits(backend):
    pair = await backend.make_pair(Limits(messages=10))
    stop_reading(pair.far)
    while not pair.near._writer.full:
        pair.near.send(Message(Kind.RPC_REQUEST, CLIENT, SERVER, "m", b"x" * 3000))
    with pytest.raises(Overloaded, match=f"10 messages .* wait for {SERVER}"):
        pair.near.send(Message(Kind.RPC_REQUEST, CLIENT, SERVER, "m", b"x" * 3000))
    accepted = pair.near.ledger.accepted
    assert pair.balanced()
    pair.near.close()
    assert pair.near.ledger.lost == accepted > 10
    assert pair.balanced()


async def test_waiting_for_room_ends_when_there_is_some(backend):
    pair = await backend.make_pair(Limits(messages=40))
    stop_reading(pair.far)
    for _ in range(39):
        await pair.client.send(CLIENT, SERVER, b"x" * 3000)
    sending = asyncio.create_task(pair.client.send(CLIENT, SERVER, b"y"))
    late = asyncio.create_task(pair.client.send(CLIENT, SERVER, b"z"))
    await settle()
    assert not late.done()
    pair.far._loop.add_reader(pair.far._peer.read_fd, pair.far._readable)
    received = [await within(pair.server.receive(SERVER, CLIENT)) for _ in range(41)]
    assert received[-2:] == [b"y", b"z"]
    await within(asyncio.gather(sending, late))


# Sizes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nbytes", [*range(3960, 4100, 7), 70_000])
async def test_bodies_around_the_size_of_a_frame_arrive(backend, nbytes):
    pair = await backend.make_pair()
    await pair.client.send(CLIENT, SERVER, b"x" * nbytes)
    assert await within(pair.server.receive(SERVER, CLIENT)) == b"x" * nbytes


async def test_a_message_beyond_the_limit_is_refused_at_the_sender_and_nothing_is_lost(backend, monkeypatch):
    monkeypatch.setattr(envelopes, "MAX_BODY_BYTES", 10_000)
    pair = await backend.make_pair()
    with pytest.raises(LocalProtocolError, match="exceeds the limit of 10000"):
        await pair.client.send(CLIENT, SERVER, b"x" * 10_001)
    assert pair.near.ledger.accepted == 0
    await pair.client.send(CLIENT, SERVER, "fine")
    assert await within(pair.server.receive(SERVER, CLIENT)) == "fine"


async def test_a_full_store_refuses_at_the_sender_and_nothing_is_lost(backend):
    server, client = await backend.node(SERVER), await backend.node(CLIENT)
    client.store.close()
    client.store = store = SharedStore(budget_bytes=1 << 20)
    near = await client.connect(SERVER)
    model = ModelState.from_arrays({"w": np.zeros(1 << 18)})
    with pytest.raises(TensorStoreFull, match="budget"):
        near.send(Message(Kind.DATA, CLIENT, SERVER, tensors=model))
    with pytest.raises(TensorStoreFull):
        near.send(Message(Kind.DATA, CLIENT, SERVER, body=b"x" * (2 << 20)))
    assert near.ledger.accepted == 0
    near.send(Message(Kind.DATA, CLIENT, SERVER, body="fine"))
    assert await within(server.receive(SERVER, CLIENT)) == "fine"
    store.close()


async def test_what_was_never_sent_is_taken_back_from_the_store(backend):
    pair = await backend.make_pair()
    stop_reading(pair.far)
    model = ModelState.from_arrays({"w": np.zeros(100)})
    for _ in range(30):
        pair.near.send(notify("n", b"x" * 3900))
    for _ in range(3):
        pair.near.send(Message(Kind.MODEL_PUSH, CLIENT, SERVER, "model", tensors=model))
    store = pair.client.store
    assert store.stats()["leased"] == 1
    pair.near.close()
    assert store.stats()["leased"] == 0


# Rubbish ---------------------------------------------------------------------------------------------------


def message_with(tensors=None, bulk=None):
    message = Message(Kind.DATA, CLIENT, SERVER)
    return frame(1, envelopes.encode(message, None, bulk, tensors), 0)


FORGED = Handle(f"fb-{os.getuid()}-{os.getpid()}-1-4-1", 0, 64, 10, 1, 0, 1)


@pytest.mark.parametrize(
    ("data", "named"),
    [
        (b"rubbish that is longer than a header", "no frame begins with"),
        (frame(1, b"\xc1", 0), "an envelope cannot be read"),
        (frame(1, b"", 5), "5 messages are acknowledged, 0 were sent"),
        (frame(2, b"", 0, 0, b"\xc1"), "notes cannot be read"),
        (frame(2, b"", 0, 0, encode_notes(Notes(finished=[(1, None)]))), "message 1 is reported as applied"),
        (frame(2, b"", 0, 0, encode_notes(Notes(consumed=1))), "1 messages are reported as received"),
        (frame(2, b"", 0, 0, encode_notes(Notes(released=[3]))), "lease 3 is released"),
        (frame(2, b"", 0, 4), "lease 4 is released"),
        (frame(2, b"", 0, 0, encode_notes(Notes(consumed=-(10**12)))), "reported as waiting since earlier"),
        (message_with(tensors=FORGED), "cannot be mapped"),
        (message_with(bulk=FORGED), "cannot be mapped"),
        (message_with(tensors=Handle("fb-0-1-2-3-4", 0, 64, 10, 1, 0, 1)), "is no segment of process"),
    ],
)
async def test_a_peer_that_breaks_the_protocol_is_cut_off_and_both_sides_know_why(
    backend, data, named, caplog
):
    pair = await backend.make_pair()
    ending = asyncio.ensure_future(broken(pair.near))
    await settle()
    write(pair.near, data)
    reason = await broken(pair.far)
    assert type(reason) is ConnectionBroken
    assert named in str(reason)
    assert named in str(await ending)
    assert named in caplog.text
    again = await pair.client.connect(SERVER)
    await pair.client.send(CLIENT, SERVER, "fine")
    assert await within(pair.server.receive(SERVER, CLIENT)) == "fine"
    assert not again.closed


@pytest.mark.parametrize("cut", [1, 10, 25, 60])
async def test_half_a_frame_blocks_nobody(backend, cut):
    pair = await backend.make_pair()
    data = frame(1, envelopes.encode(notify("n"), b"x" * 50, None, None), 0)
    heard = []
    pair.server.subscribe(lambda message: heard.append(message.body))
    write(pair.near, data[:cut])
    await settle()
    assert heard == []
    write(pair.near, data[cut:])
    while not heard:
        await asyncio.sleep(0)
    assert heard == [b"x" * 50]
    assert len(data) < MAX_FRAME_BYTES


async def test_writing_to_a_peer_that_hung_up_loses_nothing_that_it_wrote_before(backend):
    pair = await backend.make_pair()
    heard = []
    pair.server.subscribe(lambda message: heard.append(message.method))
    for number in range(3):
        pair.near.send(notify(str(number)))
    pair.near.abort("killed")
    receipt = pair.far.send(notify("late", source=SERVER, target=CLIENT))
    await broken(pair.far)
    assert heard == ["0", "1", "2"]
    assert receipt.outcome.value == "lost"
    assert pair.balanced()


# Faults of users and peers ---------------------------------------------------------------------------------


async def test_an_error_that_cannot_be_encoded_jams_nothing(backend):
    pair = await backend.make_pair()

    def broken_handler(message):
        raise ValueError("no such file: \udcff")

    pair.server.subscribe(broken_handler)
    receipt = pair.near.send(notify("n"))
    with pytest.raises(RemoteError, match=r"no such file: \?"):
        await within(receipt.applied)
    pair.far.send(notify("back", source=SERVER, target=CLIENT))
    assert pair.balanced()


@pytest.mark.parametrize(
    "fields", [{"intended_ns": 1.5}, {"method": 5}, {"method": "\udcff"}, {"deadline_ns": 2**70}], ids=str
)
async def test_what_the_peer_could_not_decode_is_refused_at_the_sender(backend, fields):
    pair = await backend.make_pair()
    message = Message(Kind.CLIENT_NOTIFY, CLIENT, SERVER, **{"method": "n", **fields})
    with pytest.raises(LocalProtocolError):
        pair.near.send(message)
    assert pair.near.ledger.accepted == 0
    await pair.client.send(CLIENT, SERVER, "fine")
    assert await within(pair.server.receive(SERVER, CLIENT)) == "fine"


async def test_a_peer_that_takes_no_models_is_lent_no_more_until_it_does(backend, monkeypatch):
    monkeypatch.setattr(connections, "STALLED_NS", 0)
    pair = await backend.make_pair()
    stop_reading(pair.far)

    def push(version):
        model = ModelState.from_arrays({"w": np.full(9, version)}, version)
        return pair.near.send(Message(Kind.RPC_REQUEST, CLIENT, SERVER, "train", tensors=model))

    first = push(1)
    with pytest.raises(Overloaded, match=f"{SERVER} has not taken the last model"):
        push(2)
    assert pair.client.store.stats()["leased"] == 1
    pair.near.send(notify("small"))  # what lends nothing passes
    pair.far._loop.add_reader(pair.far._peer.read_fd, pair.far._readable)
    await within(first.delivered)
    assert push(3)


async def test_what_was_sent_before_closing_arrives_whatever_its_size(backend):
    pair = await backend.make_pair()
    heard = []
    pair.server.subscribe(lambda message: heard.append(len(message.body)))
    for nbytes in (10, 100_000, 20):
        await pair.client.push_event(CLIENT, SERVER, "e", b"x" * nbytes)
    await within(pair.client.close())
    assert heard == [10, 100_000, 20]


async def test_a_live_peer_that_writes_on_after_it_hung_up_holds_nobody(backend):
    pair = await backend.make_pair()
    reads = []
    pair.far._readable = lambda: reads.append(1) or True
    pair.far._gone()
    assert len(reads) == connections.MAX_LAST_READS
    assert pair.far.closed
