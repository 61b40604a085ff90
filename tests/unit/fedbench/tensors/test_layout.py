"""Layouts: the same after the journey, and no others."""

from __future__ import annotations

import contextlib

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.errors import RemoteProtocolError
from fedbench.tensors.layout import Layout, aligned, decode_layout
from fedbench.tensors.model import ModelState
from fedbench.tensors.store import HEAP

SHAPES = st.lists(st.integers(0, 5), max_size=8).map(tuple)
DTYPES = st.sampled_from(["?", "i1", "u2", "i4", "i8", "f2", "f4", "f8", "c8", "c16"])


@given(st.dictionaries(st.text(max_size=20), st.tuples(SHAPES, DTYPES), min_size=1, max_size=6))
def test_a_layout_is_the_same_after_the_journey(arrays):
    layout = Layout.of({name: np.empty(shape, dtype) for name, (shape, dtype) in arrays.items()})
    assert decode_layout(layout.encoded) == layout


@pytest.mark.parametrize(
    ("entry", "named"),
    [
        (("w", (1,), "|O"), "'w' has dtype"),
        (("w", (1,), ">f4"), "'w' has dtype '>f4'"),
        (("w", (1,), "<U4"), "'w' has dtype"),
        (("w", (1,), "<M8[s]"), "'w' has dtype"),
        (("w", (1,), "f4"), "'w' has dtype 'f4'"),
        (("w", (1,), "nonsense,("), "'w' has dtype"),
        (("w", (1,) * 9, "<f4"), "'w' has the shape"),
        (("w", (2, -1), "<f4"), "'w' has the shape"),
        (("w", (2**62, 2**62), "<f8"), "'w' has the shape"),
        (("w", (2**62, 0), "<f8"), "'w' has the shape"),
        (("w", (0, 2**63), "|i1"), "'w' has the shape"),
        (("w", (1,), "<f4,<f4"), "'w' has dtype"),
        (("w", (1,), "a4"), "'w' has dtype"),
        (("w", (1,), "<f4\0"), "'w' has dtype"),
        (("w", (1,), "(" * 90_000), "'w' has dtype .{,100}: only"),
    ],
)
def test_what_no_model_holds_is_refused_by_name(entry, named):
    with pytest.raises(RemoteProtocolError, match=named):
        decode_layout(msgspec.msgpack.encode([entry]))


@pytest.mark.parametrize(
    ("entries", "named"),
    [([], "0 arrays"), ([("w", (), "<f4"), ("w", (), "<f4")], "same name"), ([("w", "x")], "cannot be read")],
)
def test_what_is_no_layout_is_refused(entries, named):
    with pytest.raises(RemoteProtocolError, match=named):
        decode_layout(msgspec.msgpack.encode(entries))


@given(st.lists(st.sampled_from([0, 1, 3, 2**31, 2**32, 2**62, 2**63, 2**64 - 1]), max_size=8), DTYPES)
def test_numpy_takes_every_shape_that_is_not_refused(shape, dtype):
    """Also those of no bytes, which cannot be told from an honest one by the size of the data."""
    try:
        layout = decode_layout(msgspec.msgpack.encode([("w", shape, np.dtype(dtype).str)]))
    except RemoteProtocolError:
        return
    if layout.nbytes == 64:
        assert ModelState(HEAP.allocate(layout), layout, 0)["w"].shape == tuple(shape)


@given(st.binary(max_size=100))
def test_any_bytes_are_a_layout_or_refused(data):
    with contextlib.suppress(RemoteProtocolError):
        decode_layout(data)


def test_everything_is_aligned_to_64_bytes():
    assert [aligned(n) for n in (0, 1, 64, 65)] == [0, 64, 64, 128]
