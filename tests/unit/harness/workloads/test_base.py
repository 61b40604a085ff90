import numpy as np
import pytest

from fedbench.tensors.model import ModelState
from harness.stacks.base import FederationSpec
from harness.workloads.base import LEARNERS, digest, failures, running
from harness.workloads.registry import create_workload

SPEC = FederationSpec(1, f"{LEARNERS}:EchoLearner")


def model(**arrays: np.ndarray) -> ModelState:
    return ModelState.from_arrays(arrays)


async def test_a_federation_is_stopped_whatever_happens(tapped) -> None:
    stack = tapped()
    async with running(stack, SPEC):
        assert await stack.ping(0, "here", deadline_s=5.0) == "here"
    assert stack.stops == 1
    with pytest.raises(RuntimeError, match="broken"):
        async with running(stack, SPEC):
            raise RuntimeError("broken")
    assert stack.stops == 2


@pytest.mark.parametrize(
    "other",
    [
        model(a=np.float32([1, 2.0000002])),
        model(b=np.float32([1, 2])),
        model(a=np.float64([1, 2])),
        model(a=np.float32([[1, 2]])),
        model(a=np.float32([1, 2]), b=np.float32([0])),
    ],
    ids=["value", "name", "dtype", "shape", "arrays"],
)
def test_a_digest_tells_models_apart(other: ModelState) -> None:
    assert digest(other) != digest(model(a=np.float32([1, 2])))


def test_equal_models_have_equal_digests_whatever_their_version() -> None:
    one = model(a=np.float32([1, 2]))
    assert digest(one) == digest(one.with_version(5))
    assert len(digest(one)) == 64


def test_failures_name_the_client() -> None:
    assert failures({"a": None, "b": ValueError("too small"), "c": None}) == ["b: too small"]


def test_parameters_not_given_have_their_defaults() -> None:
    workload = create_workload("rpc_ping", {"clients": 2})
    assert workload.params == {**workload.defaults, "clients": 2}
