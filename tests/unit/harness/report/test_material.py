from harness.report.material import NOTHING_BESIDE, Material
from tests.fakes.results import WORKLOADS, fake_material, fake_observations


def test_kinds_are_those_of_the_observations():
    assert fake_material().kinds == {name: kind for name, (kind, _) in WORKLOADS.items()}


def test_distributions_are_merged_once():
    material = Material(fake_observations())
    assert material.distributions is material.distributions
    assert material.distributions


def test_a_record_alone_has_nothing_beside_it():
    assert (NOTHING_BESIDE.kinds, NOTHING_BESIDE.distributions, NOTHING_BESIDE.rates) == ({}, {}, None)
