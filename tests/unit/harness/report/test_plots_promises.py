import math

import msgspec
import pytest

from harness.report.plots_promises import factor, promises
from tests.fakes.promises import MODES, promise_run
from tests.fakes.results import fake_run

TIMES = "\N{MULTIPLICATION SIGN}"


def only(*names, **changes):
    run = promise_run()
    criteria = [msgspec.structs.replace(c, **changes) for c in run.criteria if c.id in names]
    return msgspec.structs.replace(run, criteria=criteria)


def test_every_promise_has_a_bar_in_every_mode_with_its_sign():
    svg = promises(promise_run(), [])
    assert all(f">{mode}<" in svg for mode in MODES)
    assert f">✓ 99.92 % less  (1,250{TIMES})<" in svg
    assert f">✗ 48.7 % less  (1.95{TIMES})<" in svg
    assert svg.count("(nothing is left)") == 3
    assert sum(svg.count(f">{sign} ") for sign in "✓✗?~") == 18


def test_who_does_not_see_it_is_told_every_value():
    svg = promises(promise_run(), [])
    assert "memory, process: 48.7 % less, fail" in svg


def test_a_run_without_promises_has_no_such_picture():
    assert promises(fake_run(), []) is None
    assert promises(only("cpu-idle", value=None), []) is None
    assert promises(only("cpu-idle", unit="s"), []) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"value": 1.0, "ci_low": 0.9, "ci_high": 1.0},
        {"value": -4.0, "ci_low": -6.0, "ci_high": 0.2},
        {"value": 0.0, "ci_low": None, "ci_high": None},
        {"value": 0.5, "target": 1.0},
    ],
)
def test_values_that_a_logarithm_has_not_are_drawn(changes):
    svg = promises(only("cpu-idle", **changes), [])
    assert ">CPU idle<" in svg
    assert "nan" not in svg
    assert "inf" not in svg


def test_a_bar_is_as_long_as_push_is_better():
    assert factor(0.9) == pytest.approx(10)
    assert factor(0.0) == 1
    assert factor(-1.0) == 0.5
    assert math.isinf(factor(1.0))
