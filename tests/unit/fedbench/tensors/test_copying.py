"""Copies of large buffers: the same bytes however many threads copy."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from fedbench.tensors import copying
from fedbench.tensors.copying import PIECE_BYTES, TWO_THREADS_BYTES, copy_buffer


@pytest.mark.parametrize("nbytes", [0, 1, PIECE_BYTES - 1, PIECE_BYTES + 1, TWO_THREADS_BYTES, 9_000_001])
def test_every_byte_is_copied(nbytes):
    source = np.random.default_rng(nbytes).integers(0, 256, nbytes, np.uint8)
    target = np.zeros(nbytes, np.uint8)
    copy_buffer(target.data, source.data)
    assert target.tobytes() == source.tobytes()


def test_no_thread_is_left_and_small_buffers_need_none(monkeypatch):
    started = []
    real = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda self: (started.append(self), real(self)))
    copy_buffer(bytearray(PIECE_BYTES), bytes(PIECE_BYTES))
    assert started == []
    copy_buffer(bytearray(TWO_THREADS_BYTES), bytes(TWO_THREADS_BYTES))
    assert [thread.is_alive() for thread in started] == [False]


async def test_a_loop_copies_with_its_own_thread(monkeypatch):
    monkeypatch.setattr(threading.Thread, "start", None)
    target = bytearray(TWO_THREADS_BYTES)
    copy_buffer(memoryview(target), b"\x01" * TWO_THREADS_BYTES)
    assert target.count(1) == TWO_THREADS_BYTES


def test_one_core_copies_with_one_thread(monkeypatch):
    monkeypatch.setattr(copying.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(threading.Thread, "start", None)
    target = bytearray(TWO_THREADS_BYTES)
    copy_buffer(memoryview(target), b"\x01" * TWO_THREADS_BYTES)
    assert target[-1] == 1
