"""The numbered history of two nodes of a network, without the network."""

import pytest

from fedbench.codec import heads
from fedbench.messages import Kind, Message
from fedbench.tensors.store import HEAP
from fedbench.transport.inbox import Limits
from fedbench.transport.network.exchange import Came, Exchange
from fedbench.transport.network.reports import TakenMessage
from fedbench.transport.network.session import BUSINESS, NO_BULK, Bulk, Item, Session
from fedbench.transport.receipt import Ledger, Receipt
from tests.benchmarks.conftest import SIZES, a_model


class End:
    """An exchange whose handlers return at once."""

    def __init__(self):
        self.exchange = Exchange("peer", 1, Limits(1000), HEAP)
        self.ledger = Ledger()
        self.got = None

    def send(self, message):
        head, parts = heads.encode(message, message.body)
        item = Item(head, Bulk(*parts) if parts else NO_BULK, len(head), Receipt(self.ledger))
        self.exchange.add(BUSINESS, item)

    def take(self, data):
        came = self.exchange.take(memoryview(data))
        if isinstance(came, Came):
            self.got = came.arrived.message("b", "a", 1)
            delivery = TakenMessage("b", self.exchange.taken, self.tell)
            delivery.apply(None)
            delivery.taken(came.lane, came.number)
            self.tell()

    def tell(self):
        self.exchange.urgent = True


def carry(near, far):
    """Bring over what either end has to send until both are quiet."""
    quiet = False
    while not quiet:
        quiet = True
        for source, target in ((near, far), (far, near)):
            while (frame := source.exchange.next_frame()) is not None:
                target.take(b"".join(frame))
                quiet = False


@pytest.mark.parametrize("waiting", [1, 100])
def test_number_write_and_acknowledge(benchmark, waiting):
    session = Session(1, messages=1000, nbytes=1 << 30, chunk_bytes=1 << 18)
    item = Item(bytes(200), NO_BULK, 200, None)

    def history():
        for _ in range(waiting):
            number = session.add(BUSINESS, item)
        while session.take() is not None:
            pass
        return session.acknowledge((0, 0, number))

    assert len(benchmark(history)) == waiting
    assert session.unwritten == 0


def test_cut_a_large_bulk_into_chunks(benchmark):
    session = Session(1, messages=10, nbytes=1 << 30, chunk_bytes=256 << 10)
    item = Item(bytes(200), Bulk(memoryview(bytes(64 << 20))), 64 << 20, None)

    def history():
        number = session.add(BUSINESS, item)
        pieces = 0
        while session.take() is not None:
            pieces += 1
        session.acknowledge((0, 0, number))
        return pieces

    assert benchmark(history) == 1 + 256


def test_message_until_it_is_applied(benchmark):
    near, far = End(), End()
    message = Message(Kind.CLIENT_NOTIFY, "a", "b", "event", {"number": 1})

    def exchange():
        near.send(message)
        carry(near, far)
        return near.ledger.balanced()

    assert benchmark(exchange)
    assert far.got.body == message.body


@SIZES
def test_model_until_it_is_applied(benchmark, size):
    near, far, model = End(), End(), a_model(size)
    message = Message(Kind.MODEL_PUSH, "a", "b", "", None, model)

    def exchange():
        near.send(message)
        carry(near, far)
        return near.ledger.balanced()

    assert benchmark(exchange)
    assert far.got.tensors == model


def test_burst_until_it_is_applied(benchmark):
    near, far = End(), End()
    messages = [Message(Kind.CLIENT_NOTIFY, "a", "b", "event", {"number": i}) for i in range(100)]

    def exchange():
        for message in messages:
            near.send(message)
        carry(near, far)
        return near.ledger.balanced()

    assert benchmark(exchange)
    assert far.got.body == {"number": 99}
