import inspect

import pytest

from harness.stacks.base import FederationSpec, Stack
from harness.stacks.federation import FederationStack
from harness.stacks.floors import FloorStack


@pytest.mark.parametrize("stack", [FederationStack, FloorStack])
def test_a_stack_has_every_method_of_the_protocol_with_its_signature(stack: type) -> None:
    for name, member in vars(Stack).items():
        if inspect.isfunction(member) and not name.startswith("_"):
            assert inspect.signature(getattr(stack, name)) == inspect.signature(member)
            assert inspect.iscoroutinefunction(getattr(stack, name)) == inspect.iscoroutinefunction(member)


def test_a_specification_shares_no_defaults() -> None:
    first, second = FederationSpec(1, "x"), FederationSpec(1, "x")
    assert first == second
    assert first.learner_args is not second.learner_args


def test_a_process_needs_a_client() -> None:
    with pytest.raises(ValueError, match="per_process is 0: it must be at least 1"):
        FederationSpec(1, "x", per_process=0)
