import msgspec
import pytest

from harness.report.plots import PLOTS, plots
from harness.report.sections import CAPTIONS
from tests.fakes.results import PLOT_NAMES, bare_run, fake_observations, fake_run


@pytest.mark.slow
def test_every_plot_is_drawn_when_its_data_is_there():
    assert tuple(plots(fake_run(), fake_observations())) == PLOT_NAMES


@pytest.mark.slow
def test_every_plot_says_in_words_what_it_shows():
    for name, svg in plots(fake_run(), fake_observations()).items():
        told = svg.partition(f'<desc id="{name}-told">')[2].partition("</desc>")[0]
        assert any(character.isdigit() for character in told), name
        assert f'aria-describedby="{name}-told"' in svg


@pytest.mark.slow
def test_names_with_dollars_are_text():
    """A stored run may have any names; between dollars matplotlib would read formulas, and fail."""

    def renamed(record, *fields):
        return msgspec.structs.replace(record, **{f: f"{getattr(record, f)}$\\frac$" for f in fields})

    run = fake_run()
    odd = msgspec.structs.replace(
        run,
        cells=[renamed(c, "arm", "workload") for c in run.cells],
        criteria=[renamed(c, "id", "arm", "against", "workload", "against_workload") for c in run.criteria],
    )
    drawn = plots(odd, [renamed(o, "arm", "workload") for o in fake_observations()])
    assert {"criteria", "comparison", "ratios", "phases", "latency-rpc_ping-frac-"} <= set(drawn)
    assert all("$\\frac$" in drawn[name] for name in ("criteria", "ratios", "phases"))


def test_none_is_drawn_without_data():
    assert plots(bare_run(), []) == {}


def test_every_plot_has_a_caption():
    assert set(PLOTS) == set(CAPTIONS)
