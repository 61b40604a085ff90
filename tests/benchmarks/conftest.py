"""What benchmarks have in common: sizes that matter, and a loop of their own."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from fedbench.tensors.model import ModelState

FOLDER = Path(__file__).parent
SMALL, LARGE = "small", "large"
SIZES = pytest.mark.parametrize("size", [SMALL, LARGE])


def a_model(size, version=1, store=None):
    """Return 10 arrays: 8 KiB altogether, a linear model; or 4 MiB, a small network."""
    values = {SMALL: 205, LARGE: 104_858}[size]
    arrays = {f"layer{i}.weight": np.full(values, i + 0.5, np.float32) for i in range(10)}
    return ModelState.from_arrays(arrays, version, **({} if store is None else {"store": store}))


def pytest_collection_modifyitems(items):
    """Have rounds last a millisecond and more: the clock does not matter then, and the JSON stays small."""
    for item in items:
        if item.path.parent == FOLDER:
            item.add_marker(pytest.mark.benchmark(min_time=0.001, max_time=0.3, min_rounds=20))


@pytest.fixture
def loop():
    made = asyncio.new_event_loop()
    yield made
    made.close()
