"""Messages to bytes and back, by each way that they travel."""

import pytest

from fedbench.codec import envelope, frames, heads, wire
from fedbench.codec.websocket import Deframer, Opcode, encode_header, encode_masked
from fedbench.messages import Kind, Message
from tests.benchmarks.conftest import LARGE, SIZES, SMALL, a_model

MASK = b"\x5a\x13\xc4\x81"
TOLD = (12, 3, 4567, 12, 4560, 321)
BODIES = {
    SMALL: {"number": 7, "total": 20, "seed": 1},
    LARGE: {f"metric_{i}": [i, i / 7, f"client {i}"] for i in range(300)},
}


def message(size):
    return Message(Kind.RPC_REQUEST, "server", "client", "train", BODIES[size], None, 4711, 10**12)


@pytest.mark.parametrize("payload_bytes", [64, 3000])
def test_frame_of_a_queue(benchmark, payload_bytes):
    payload, reader = bytes(payload_bytes), frames.FrameReader()
    (read,) = benchmark(lambda: reader.feed(frames.frame(frames.MESSAGE, payload, 4711, 12)))
    assert read.payload == payload


def test_many_frames_of_a_queue_in_one_read(benchmark):
    data = frames.frame(frames.MESSAGE, bytes(200), 1) * 64
    reader = frames.FrameReader()
    assert len(benchmark(reader.feed, data)) == 64


@pytest.mark.parametrize(("kind", "payload_bytes"), [(wire.HEAD, 64), (wire.CHUNK, wire.CHUNK_BYTES)])
def test_frame_of_a_network(benchmark, kind, payload_bytes):
    payload = bytes(payload_bytes)

    def there_and_back():
        header, body = wire.encode_frame(kind, TOLD, payload, 2, 4711)
        return wire.decode_frame(memoryview(header + body))

    assert benchmark(there_and_back).payload == payload


@pytest.mark.parametrize("payload_bytes", [150, 256 << 10])
def test_mask_a_websocket_message(benchmark, payload_bytes):
    parts = [bytes(64), bytes(payload_bytes - 64)]
    assert len(benchmark(encode_masked, Opcode.BINARY, parts, MASK)) > payload_bytes


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("payload_bytes", [150, 256 << 10])
def test_take_a_websocket_message(benchmark, payload_bytes, masked):
    deframer = Deframer(masked=masked, most_bytes=1 << 20)
    header = encode_header(Opcode.BINARY, payload_bytes, MASK if masked else b"")
    data = memoryview(bytearray(header + bytes(payload_bytes)))

    def take():
        payload = deframer.whole(data)
        return payload if payload is not None else deframer.feed(data)[0].payload

    assert len(benchmark(take)) == payload_bytes


def test_take_a_websocket_message_in_pieces(benchmark):
    """A chunk of a model as TCP brings it: 64 KiB at a time."""
    deframer = Deframer(masked=False, most_bytes=1 << 20)
    data = memoryview(bytearray(encode_header(Opcode.BINARY, 256 << 10) + bytes(256 << 10)))
    pieces = [data[start : start + (64 << 10)] for start in range(0, len(data), 64 << 10)]
    done = benchmark(lambda: [taken for piece in pieces for taken in deframer.feed(piece)])
    assert [len(taken.payload) for taken in done] == [256 << 10]


@SIZES
def test_envelope(benchmark, size):
    sent = message(size)
    read = benchmark(lambda: envelope.decode(envelope.encode(sent, sent.body, None, None)))
    assert read.body == sent.body


@SIZES
def test_head(benchmark, size):
    sent = message(size)
    read = benchmark(lambda: heads.decode(memoryview(heads.encode(sent, sent.body).head)))
    assert read.head.body == sent.body


@SIZES
def test_head_and_model(benchmark, size):
    model = a_model(size)
    sent = Message(Kind.MODEL_PUSH, "server", "client", "", None, model)

    def there_and_back():
        head, bulk = heads.encode(sent, None)
        arrived = heads.decode(memoryview(head))
        return arrived if not bulk else arrived.feed(0, bulk[0])

    assert benchmark(there_and_back).model == model
