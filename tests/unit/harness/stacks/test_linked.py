"""Federations behind a link: a round gives the same model as without."""

from __future__ import annotations

import pytest

from harness.stacks.base import FederationSpec
from harness.stacks.federation import FederationStack
from harness.stacks.link import Link

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("architecture", ["push", "polling"])
async def test_a_round_behind_a_link_is_the_same_round(architecture: str) -> None:
    spec = FederationSpec(2, "SimpleLearner", {}, {"rounds": 2}, link=Link(0.005, 0.01))
    stack = FederationStack(architecture, "network", {})
    await stack.start(spec)
    try:
        behind = await stack.run()
    finally:
        await stack.stop()
    plain = FederationStack("push", "memory", {})
    await plain.start(FederationSpec(2, "SimpleLearner", {}, {"rounds": 2}))
    try:
        assert behind.model == (await plain.run()).model
    finally:
        await plain.stop()
