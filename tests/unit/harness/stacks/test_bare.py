"""A bare stack offers nothing, and says so of every method that a stack has."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from fedbench.tensors.model import ModelState
from harness.stacks.bare import BareStack
from harness.stacks.base import FederationSpec, Unsupported

MODEL = ModelState.from_arrays({"w": np.zeros(1, np.float32)})


@pytest.mark.parametrize(
    "use",
    [
        lambda stack: stack.start(FederationSpec(1, "x")),
        lambda stack: stack.ping(0, None, deadline_s=1.0),
        lambda stack: stack.notify(0, None, intended_ns=0),
        lambda stack: stack.place(MODEL),
        lambda stack: stack.broadcast(MODEL),
        lambda stack: stack.run(),
        lambda stack: stack.lose(0),
        lambda stack: stack.ask(0, "x"),
        lambda stack: stack.floor("hop", 1),
    ],
)
async def test_nothing_is_supported(use: Callable[[BareStack], Any]) -> None:
    stack = BareStack()
    with pytest.raises(Unsupported, match="there is no federation here"):
        await use(stack)
    await stack.stop()
