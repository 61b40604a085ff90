import pytest

from harness.workloads.registry import WORKLOADS, catalogue, create_workload


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_workload_is_made_by_its_kind(kind: str) -> None:
    workload = create_workload(kind, {})
    assert workload.kind == kind
    assert workload.params == catalogue()[kind]


@pytest.mark.parametrize("kind", WORKLOADS)
def test_a_workload_says_in_one_line_what_it_does(kind: str) -> None:
    assert len((WORKLOADS[kind].__doc__ or "").splitlines()[0]) > 20


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(KeyError):
        create_workload("rpc_pong", {})
