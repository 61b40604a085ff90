"""Outbox: control before business, each in order, and never more than the bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fedbench.codec.frames import HEADER_BYTES, MAX_FRAME_BYTES, MAX_PAYLOAD_BYTES
from fedbench.messages import Channel
from fedbench.transport.inbox import Limits
from fedbench.transport.process.outbox import Outbox, Waiting


def waiting(number, nbytes=1):
    return Waiting(b"%d" % number, None, (), nbytes)


@given(st.lists(st.sampled_from([*Channel, None]), max_size=40))
def test_control_comes_first_and_each_lane_keeps_its_order(steps):
    outbox, lanes = Outbox(Limits()), {channel: [] for channel in Channel}
    for number, step in enumerate(steps):
        if step is not None:
            outbox.add(step, waiting(number))
            lanes[step].append(waiting(number))
        elif len(outbox):
            lane = lanes[Channel.CONTROL] or lanes[Channel.BUSINESS]
            assert outbox.next_batch()[0] == lane.pop(0)
            outbox.pop()
        assert list(outbox) == lanes[Channel.CONTROL] + lanes[Channel.BUSINESS]


@given(st.lists(st.integers(0, MAX_PAYLOAD_BYTES), max_size=12))
def test_a_batch_is_as_many_as_fit_into_one_write(sizes):
    outbox = Outbox(Limits())
    for size in sizes:
        outbox.add(Channel.BUSINESS, Waiting(bytes(size), None, (), 1))
    left = list(sizes)
    while batch := outbox.next_batch():
        written = [len(item.payload) for item in batch]
        assert written == left[: len(batch)]
        assert len(batch) == 1 or sum(written) + len(batch) * HEADER_BYTES <= MAX_FRAME_BYTES
        del left[: len(batch)]
        if left:
            assert sum(written) + left[0] + (len(batch) + 1) * HEADER_BYTES > MAX_FRAME_BYTES
        for _ in batch:
            outbox.pop()
    assert not left


def test_it_is_full_by_messages_or_bytes_and_an_empty_one_takes_anything():
    outbox = Outbox(Limits(messages=2, nbytes=100))
    assert not outbox.full
    outbox.add(Channel.BUSINESS, waiting(1, 99))
    assert not outbox.full
    outbox.add(Channel.CONTROL, waiting(2, 0))
    assert outbox.full
    outbox.pop()
    outbox.add(Channel.BUSINESS, waiting(3, 1000))
    assert str(outbox) == "2 messages (1099 bytes)"
    assert [item.payload for item in outbox.clear()] == [b"1", b"3"]
    assert not outbox.full
    assert len(outbox) == 0
