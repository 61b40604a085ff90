import inspect

import pytest

from harness.progress import BarProgress, PlainProgress
from harness.run.progress import Progress


@pytest.mark.parametrize("made", [PlainProgress, BarProgress])
def test_whoever_is_told_how_a_run_goes_understands_all_of_it(made: type) -> None:
    for name, method in inspect.getmembers(Progress, inspect.isfunction):
        if not name.startswith("_"):
            assert list(inspect.signature(getattr(made, name)).parameters) == list(
                inspect.signature(method).parameters
            )
