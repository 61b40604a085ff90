"""The pieces on the way of every message and every update, one by one, for whoever tunes them.

    pytest tests/benchmarks --benchmark-enable --benchmark-json FILE

Budgets are ratios that the harness measures; what these take is compared between versions, with a file each
of several runs (``harness/records/pytestbench.py``). In the suite each runs once, as a test.
"""

import numpy as np
import pytest

from fedbench.learning.aggregation import StreamingAverage
from fedbench.messages import Kind, Message, snapshot
from fedbench.rpc.correlation import OpenCalls
from fedbench.tensors.model import ModelState
from fedbench.transport.base import Limits
from fedbench.transport.memory import MemoryConnection
from fedbench.transport.receipt import ACKED, Ledger, Receipt
from harness.stats.histogram import Histogram

SERVER, CLIENT = "memory_server", "memory_client_1"


def test_open_and_close_a_call(benchmark):
    calls = OpenCalls()
    benchmark(lambda: calls.close(calls.open(CLIENT, None, 1)))
    assert len(calls) == 0


def test_make_a_receipt(benchmark):
    ledger = Ledger()
    assert benchmark(lambda: Receipt(ledger, ACKED))
    assert ledger.balanced()


def test_make_a_message(benchmark):
    made = benchmark(lambda: Message(Kind.RPC_REQUEST, SERVER, CLIENT, "ping", b"", None, 1, 2))
    assert made.method == "ping"


def test_snapshot_a_small_body(benchmark):
    body = {"number": 1, "total": 20, "seed": 7, "names": ["a", "b"]}
    assert benchmark(snapshot, body) == body


def test_send_over_memory(benchmark):
    near, far = MemoryConnection.pair(SERVER, CLIENT, 1, Limits())
    far.receiver = lambda message, delivery: delivery.apply()
    far.start()
    message = Message(Kind.CLIENT_NOTIFY, SERVER, CLIENT)
    assert benchmark(near.send, message)
    assert near.ledger.balanced()


def test_record_a_latency(benchmark):
    histogram = Histogram()
    benchmark(histogram.record, 12_345)
    assert histogram.count


@pytest.mark.parametrize("clients", [1, 4])
def test_average_4_mb_updates(benchmark, clients):
    model = ModelState.from_arrays({"w": np.ones(1 << 20, np.float32)})

    def average():
        total = StreamingAverage(model, clients)
        for position in range(clients):
            total.add(position, model, 1)
        return total.finish(1)

    assert benchmark(average) == model
