import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.messages import snapshot
from fedbench.tensors.model import ModelState
from fedbench.values import (
    ClientInfo,
    History,
    RoundInfo,
    RoundPhases,
    RoundRecord,
    TrainResult,
    result_from_body,
    result_to_body,
    round_from_body,
    round_to_body,
)

MODEL = ModelState.from_arrays({"w": np.ones(2)})
METRICS = st.dictionaries(st.text(), st.floats(allow_nan=False), max_size=4)


@given(st.builds(RoundInfo, st.integers(1), st.integers(1), st.integers(0)))
def test_a_round_survives_the_wire(round_info):
    assert round_from_body(snapshot(round_to_body(round_info))) == round_info


@given(st.integers(1, 2**53), METRICS)
def test_a_result_survives_the_wire(num_examples, metrics):
    result = TrainResult(MODEL, num_examples, metrics)
    assert result_from_body(snapshot(result_to_body(num_examples, metrics)), MODEL) == result


@pytest.mark.parametrize(
    "body", [None, 3, "text", [], {}, {"number": 1, "total": 2}, {"number": "x", "total": 2, "seed": 3}]
)
def test_what_is_no_round(body):
    with pytest.raises(ValueError, match="does not describe a round: number, total and seed"):
        round_from_body(body)


@pytest.mark.parametrize(
    "body",
    [
        None,
        "text",
        {},
        {"num_examples": 1},
        {"num_examples": 1, "metrics": [1]},
        {"num_examples": 1, "metrics": {"loss": "low"}},
        {"num_examples": None, "metrics": {}},
        {"num_examples": float("inf"), "metrics": {}},
    ],
)
def test_what_is_no_result(body):
    with pytest.raises(ValueError, match="does not describe a training result: num_examples and metrics"):
        result_from_body(body, MODEL)


def test_a_round_of_infinite_number_is_none():
    with pytest.raises(ValueError, match="does not describe a round"):
        round_from_body({"number": float("inf"), "total": 1, "seed": 1})


def test_a_result_needs_a_model_and_an_example():
    with pytest.raises(ValueError, match="without a model"):
        result_from_body({"num_examples": 1, "metrics": {}}, None)
    with pytest.raises(ValueError, match="num_examples is 0"):
        result_from_body({"num_examples": 0, "metrics": {}}, MODEL)
    with pytest.raises(ValueError, match="num_examples is -1"):
        TrainResult(MODEL, -1)


@pytest.mark.parametrize(
    "value",
    [
        ClientInfo("c", 0, 1, 7),
        RoundInfo(1, 2, 3),
        TrainResult(MODEL, 1),
        RoundRecord(1, ("c",), ("c",), {}, 1, {}, 0.5, 1, RoundPhases(0.1, 0.2, 0.1, 0.1)),
        History((), MODEL, {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_cannot_be_changed(value):
    name = next(iter(type(value).__annotations__))
    with pytest.raises(AttributeError):
        setattr(value, name, None)
