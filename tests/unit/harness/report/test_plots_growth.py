import msgspec

from harness.report.plots_growth import growth, phases
from tests.fakes.results import bare_run, fake_observations, fake_run


def test_what_was_measured_at_two_sizes_is_a_line():
    svg = growth(fake_run(), fake_observations())
    assert ">fedavg_round, push<" in svg
    for tick in (">20<", ">100<", ">5 ms<"):
        assert tick in svg
    assert "fedavg_round, push, by clients: exponent 0.93" in svg


def test_each_kind_of_size_has_a_panel():
    cells = list(fake_run().cells)
    model = [c for c in cells if (c.arm, c.workload) == ("push", "broadcast")]
    larger = [
        msgspec.structs.replace(c, workload="hop", params={**c.params, "model_bytes": 1 << 24}) for c in model
    ]
    observations = [
        msgspec.structs.replace(o, kind="broadcast") if o.workload == "hop" else o
        for o in fake_observations()
    ]
    svg = growth(bare_run(cells=[*cells, *larger]), observations)
    for text in (">clients (log scale)<", ">model_bytes (log scale)<", ">16 MiB<", ">broadcast, push<"):
        assert text in svg


def test_one_size_is_no_growth():
    cells = [c for c in fake_run().cells if c.workload != "round_100"]
    assert growth(bare_run(cells=cells), fake_observations()) is None


def test_every_round_is_a_bar_with_its_phases():
    svg = phases(fake_run(), [])
    for text in (">ask<", ">collect<", ">reduce<", ">publish<", ">fedavg_round, push_asyncio<"):
        assert text in svg
    assert "of that ask 20%, collect 60%, reduce 15%, publish 5%" in svg


def test_without_phases_there_is_no_bar():
    assert phases(bare_run(), []) is None
