import gc
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from fedbench.tensors.model import ALIGNMENT_BYTES, Layout, ModelDraft, ModelState

DTYPES = st.sampled_from(["?", "i1", "u1", "i2", "u4", "i8", "f2", "f4", "f8", "c8", "c16"])
ARRAYS = DTYPES.flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
)
MODELS = st.dictionaries(st.text(max_size=8), ARRAYS, min_size=1, max_size=5)


def model(version=3):
    return ModelState.from_arrays({"w": np.arange(6, dtype="f4").reshape(2, 3), "b": np.ones(3)}, version)


@settings(deadline=None)
@given(MODELS)
def test_every_bit_dtype_and_shape_survives(arrays):
    state = ModelState.from_arrays(arrays)
    assert list(state) == list(arrays)
    assert len(state) == len(arrays)
    for name, array in arrays.items():
        assert state[name].dtype == array.dtype
        assert state[name].shape == array.shape
        assert state[name].tobytes() == array.tobytes()


@settings(deadline=None)
@given(MODELS)
def test_arrays_are_aligned_contiguous_and_in_one_buffer(arrays):
    state = ModelState.from_arrays(arrays)
    start = np.frombuffer(state.buffer, np.uint8).ctypes.data
    end_bytes = 0
    for spec in state.layout.specs:
        array = state[spec.name]
        assert spec.offset_bytes % ALIGNMENT_BYTES == 0
        assert spec.offset_bytes >= end_bytes
        assert array.flags.c_contiguous
        if array.nbytes:
            assert array.ctypes.data == start + spec.offset_bytes
        end_bytes = spec.offset_bytes + spec.nbytes
    assert start % ALIGNMENT_BYTES == 0
    assert end_bytes <= state.nbytes == state.buffer.nbytes


@settings(deadline=None)
@given(MODELS)
def test_read_only_cannot_be_undone(arrays):
    state = ModelState.from_arrays(arrays)
    assert state.buffer.readonly
    for array in state.values():
        for view in (array, array.view(), array.reshape(-1), np.asarray(array)):
            assert not view.flags.writeable
            with pytest.raises(ValueError, match="WRITEABLE"):
                view.flags.writeable = True
            with pytest.raises(ValueError, match="read-only"):
                view[...] = 0


@settings(deadline=None)
@given(MODELS, st.integers(0, 9), st.integers(0, 9))
def test_equality_is_of_bits_and_not_of_versions(arrays, one, other):
    assert ModelState.from_arrays(arrays, one) == ModelState.from_arrays(arrays, other)


def test_what_makes_models_differ():
    base = {"a": np.zeros(2), "b": np.zeros(2)}
    state = ModelState.from_arrays(base)
    assert state != ModelState.from_arrays({"b": np.zeros(2), "a": np.zeros(2)})
    assert state != ModelState.from_arrays({"a": np.zeros(2)})
    assert state != ModelState.from_arrays(base | {"b": np.zeros(2, "f4")})
    assert state != ModelState.from_arrays(base | {"b": np.zeros((2, 1))})
    assert state != ModelState.from_arrays(base | {"b": np.array([0.0, -0.0])})
    assert state != base
    nan = ModelState.from_arrays({"a": np.array([np.nan])})
    assert nan == ModelState.from_arrays({"a": np.array([np.nan])})


def test_a_model_has_no_hash():
    with pytest.raises(TypeError):
        hash(model())


def test_from_arrays_copies():
    source = np.ones(3)
    state = ModelState.from_arrays({"w": source})
    source[:] = 7
    assert state["w"].tolist() == [1, 1, 1]


def test_from_arrays_takes_lists_and_strided_arrays():
    state = ModelState.from_arrays({"list": [1.5, 2.5], "strided": np.arange(12).reshape(3, 4).T[::2]})
    assert state["list"].tolist() == [1.5, 2.5]
    assert state["strided"].tolist() == [[0, 4, 8], [2, 6, 10]]


@pytest.mark.parametrize("dtype", ["O", "U4", "S4", "M8[s]", "m8[s]", ">f4", "V4"])
def test_dtypes_that_no_wire_carries_are_refused(dtype):
    with pytest.raises(TypeError, match="array 'w' has dtype"):
        ModelState.from_arrays({"w": np.zeros(2, dtype)})


def test_bounds_of_a_layout():
    with pytest.raises(ValueError, match="at least one array"):
        Layout.of({})
    assert Layout.of({"w": np.zeros((1,) * 8)}).nbytes == 64
    with pytest.raises(ValueError, match="'w' has 9 dimensions"):
        Layout.of({"w": np.zeros((1,) * 9)})
    assert Layout.of({"w": np.zeros(0)}).nbytes == 64


def test_no_version_is_negative():
    for make in (
        lambda: model(-1),
        lambda: model().with_version(-1),
        lambda: model().draft().freeze(version=-2),
    ):
        with pytest.raises(ValueError, match="is negative"):
            make()


def test_a_draft_that_could_not_be_frozen_is_still_a_draft():
    draft = model().draft(copy=True)
    with pytest.raises(ValueError, match="negative"):
        draft.freeze(version=-1)
    draft["b"] += 1
    assert draft.freeze()["b"].tolist() == [2, 2, 2]


def test_versions():
    state = model(3)
    assert state.version == 3
    assert state.draft().freeze().version == 4
    assert state.draft().freeze(version=9).version == 9
    renamed = state.with_version(8)
    assert (renamed.version, state.version) == (8, 3)
    assert np.shares_memory(renamed["w"], state["w"])


def test_a_draft_is_written_in_place_and_frozen_without_a_copy():
    draft = model().draft(copy=True)
    assert isinstance(draft, ModelDraft)
    assert list(draft) == ["w", "b"]
    assert len(draft) == 2
    before = draft["w"]
    draft["w"] -= 1
    draft["b"] = [7, 8, 9]
    assert draft["w"] is before
    state = draft.freeze()
    assert state["w"].tolist() == [[-1, 0, 1], [2, 3, 4]]
    assert state["b"].tolist() == [7, 8, 9]
    assert np.shares_memory(state["w"], before)
    assert state.layout == model().layout


def test_a_frozen_draft_takes_nothing_more():
    draft = model().draft()
    draft.freeze()
    with pytest.raises(ValueError, match="frozen already"):
        draft.freeze()
    with pytest.raises(ValueError, match="read-only"):
        draft["w"] = 1
    with pytest.raises(ValueError, match="read-only"):
        draft["w"][0] = 1


def test_a_draft_does_not_touch_its_model():
    state = model()
    draft = state.draft(copy=True)
    draft["w"][...] = 0
    assert state == model()


def test_a_draft_refuses_what_does_not_fit():
    draft = model().draft()
    with pytest.raises(KeyError):
        draft["unknown"] = 1
    with pytest.raises(ValueError, match="broadcast"):
        draft["b"] = [1, 2]


def test_repr_tells_the_size_and_not_the_values():
    assert repr(model()) == "<ModelState version=3 arrays=2 bytes=128>"


def test_an_array_keeps_the_buffer_alive_and_a_model_can_be_watched():
    state = model()
    array = state["w"]
    gone = weakref.ref(state)
    del state
    gc.collect()
    assert gone() is None
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
