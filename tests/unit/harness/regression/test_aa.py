from __future__ import annotations

import pytest

from fedbench.errors import ConfigError
from harness.records.environment import machine_class
from harness.regression.aa import base_runs, calibrate, keep, known
from harness.regression.margins import MARGINS
from harness.regression.runs import read_run
from harness.regression.verdict import Key
from tests.fakes.stored import ENVIRONMENT, observations, write

MACHINE = machine_class(ENVIRONMENT)


@pytest.fixture(scope="module")
def calibration(tmp_path_factory):
    folder = write(tmp_path_factory.mktemp("runs") / "base", observations(60))
    return calibrate(base_runs(read_run(folder)), MARGINS, 40, seed=0)


def test_it_tells_rates_of_both_procedures_with_exact_bounds(calibration):
    assert calibration.base.machine == MACHINE
    for procedure in ("paired", "stored"):
        rates = calibration.rates_of(procedure)
        assert (rates.procedure, rates.comparisons, rates.injected) == (procedure, 40, 40)
        assert rates.alarms == 0
        assert rates.alarms_upper == pytest.approx(1 - 0.05 ** (1 / 40))
        assert min(rates.detected, rates.detected_doubled) >= 36
        assert (rates.agreed, rates.pairs, rates.kappa) == (13, 13, 1.0)
    assert calibration.blocks == calibration.rates_of("paired").blocks == 10
    assert calibration.rates_of("another") is None
    for procedure in ("paired", "stored"):
        assert 0.1 < calibration.detectable_of(procedure)[Key("push", "rpc", "latency_hops")].share < 0.2


def test_it_is_kept_by_class_of_machines(calibration, tmp_path):
    assert known(MACHINE, tmp_path / "none") is None
    path = keep(calibration, tmp_path)
    assert known(MACHINE, tmp_path) == calibration
    assert known("another machine", tmp_path) is None
    assert keep(calibration, tmp_path) == path


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 4}', '{"version": 5}'])
def test_one_that_is_damaged_is_named_with_the_remedy(calibration, tmp_path, text):
    keep(calibration, tmp_path).write_text(text)
    with pytest.raises(ConfigError, match=r"cannot be used: .*remove it, or run `fedbench aa --fresh`"):
        known(MACHINE, tmp_path)


def test_too_few_base_runs_are_refused(tmp_path):
    base = base_runs(read_run(write(tmp_path / "base", observations(12))))
    with pytest.raises(ConfigError, match=r"too few .*collect more base runs"):
        calibrate(base, MARGINS, 30, seed=0)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"push/round/round_s"', '"push/round/of/round_s"', "names no metric of a cell"),
        ('"push/round/round_s"', '"push/round/nonsense_s"', "names no metric that is compared"),
        ('"blocks": 10,\n "rates"', '"blocks": -3,\n "rates"', "blocks is -3"),
        (f'"machine": "{MACHINE}"', '"machine": "another"', "it is of another, not of"),
    ],
)
def test_one_that_was_edited_is_named(calibration, tmp_path, old, new, said):
    path = keep(calibration, tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=said):
        known(MACHINE, tmp_path)
