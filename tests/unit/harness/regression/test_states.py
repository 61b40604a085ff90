from __future__ import annotations

import pytest

from harness.regression.baselines import NoBaseline
from harness.regression.runs import read_run
from harness.regression.states import differences, refuse
from harness.regression.stored import stored
from tests.fakes.stored import ENVIRONMENT, observations, write

PACKAGES = {"numpy": "2.0", "fedbench": "0.1", "pandas": "1"}


@pytest.fixture
def pair(tmp_path):
    """Returns two runs as both functions take them, the candidate's environment changed."""

    def make(here=None, started="2026-01-02T03:04:05Z", **made):
        there = {**ENVIRONMENT, "kernel": "6.1", "packages": PACKAGES}
        runs = [
            read_run(write(tmp_path / "old", observations(10), environment=there)),
            read_run(
                write(
                    tmp_path / "new",
                    observations(10, seed=1, **made),
                    environment={**there, **(here or {})},
                    started_utc=started,
                )
            ),
        ]
        return (*runs, *(stored(run.observations) for run in runs))

    return make


def test_runs_of_one_machine_are_compared(pair):
    sides = pair({"packages": {**PACKAGES, "fedbench": "0.2", "pandas": "2"}}, speed=1.05)
    refuse(*sides)  # what is compared, and what draws the report, may differ
    (said,) = differences(*sides)
    assert said.startswith("packages differs: old had")


@pytest.mark.parametrize(
    ("here", "made", "said"),
    [
        ({"kernel": "6.2"}, {}, "old was measured with kernel 6.1, and new with 6.2; measure both versions"),
        ({"packages": {**PACKAGES, "numpy": "2.1"}}, {}, "with numpy 2.0, and new with 2.1"),
        ({}, {"speed": 0.5}, r"the floors took 2\.\d\d times as long as in old: the machine is in another"),
        ({}, {"speed": 2.0}, r"the floors took 0\.5\d times as long"),
        ({}, {"spread": 2.5}, r"new is of a machine too noisy: its floors varied by \d+% from block to"),
    ],
)
def test_what_says_more_of_the_machine_is_refused_with_the_remedy(pair, here, made, said):
    with pytest.raises(NoBaseline, match=said) as caught:
        refuse(*pair(here, **made))
    assert all("`fedbench ab REF_A REF_B`" in str(problem) for problem in caught.value.problems)


def test_runs_that_tell_nothing_of_it_are_compared(pair):
    refuse(*pair({"kernel": None, "packages": None}, floors=False))


def test_what_was_otherwise_is_said(pair):
    sides = pair({"governor": "powersave"}, started="2026-01-12T03:04:04Z", speed=0.8)
    assert list(differences(*sides)) == [
        "governor differs: old had None, new powersave",
        "the floors took 1.26 times as long as in old: the machine; times are told as at the base's speed",
        "the runs lie 9 days apart: measure both by `fedbench ab` before you act on a time",
    ]
