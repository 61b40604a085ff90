import gc
import time

import pytest

from harness.run.pauses import Pauses


def test_collections_are_noted_only_within() -> None:
    pauses, callbacks = Pauses(), list(gc.callbacks)
    gc.collect()
    with pauses.noted():
        gc.collect()
        gc.collect()
    gc.collect()
    assert len(pauses.durations_ns) >= 2  # the interpreter may collect by itself
    assert all(0 < duration_ns < 10**10 for duration_ns in pauses.durations_ns)
    assert gc.callbacks == callbacks


def test_what_fails_within_leaves_nothing_behind() -> None:
    pauses, callbacks = Pauses(), list(gc.callbacks)
    with pytest.raises(ZeroDivisionError), pauses.noted():
        _ = 1 / 0
    assert gc.callbacks == callbacks


class Slow:
    """Takes its time to be collected."""

    def __init__(self) -> None:
        self.itself = self

    def __del__(self) -> None:
        time.sleep(0.02)


def test_a_pause_lasts_as_long_as_the_collection() -> None:
    pauses = Pauses()
    with pauses.noted():
        Slow()
        gc.collect()
    assert max(pauses.durations_ns) >= 20_000_000
