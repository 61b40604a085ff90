import pytest

from harness.report.plots import PLOTS, plots
from harness.report.sections import CAPTIONS
from tests.fakes.results import bare_run, fake_observations, fake_run


@pytest.mark.slow
def test_every_plot_is_drawn_when_its_data_is_there():
    assert list(plots(fake_run(), fake_observations())) == list(PLOTS)


def test_none_is_drawn_without_data():
    assert plots(bare_run(), []) == {}


def test_every_plot_has_a_caption():
    assert set(PLOTS) == set(CAPTIONS)
