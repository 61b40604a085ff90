from collections.abc import Iterator
from io import BytesIO

import pytest
from blockbuster.blockbuster import _skip
from matplotlib.figure import Figure


@pytest.fixture(autouse=True, scope="session")
def fonts() -> None:
    """Have matplotlib open the fonts it keeps for the life of the process before descriptors are counted."""
    figure = Figure()
    figure.text(0, 0, "text")
    figure.savefig(BytesIO(), format="svg")


@pytest.fixture
def may_block() -> Iterator[None]:
    """Lift the ban on blocking the event loop, for what blocks it on purpose."""
    _skip.value = True
    yield
    _skip.value = False
