import pytest

from harness.report.arms import arm_order, by_arm, is_swept, reference_arms, swept_value
from tests.fakes.results import fake_observations, fake_run


def test_arms_come_by_stack_and_name_and_the_sweep_by_value():
    idle = [cell for cell in fake_run().cells if cell.workload in ("idle_federation", "hop")]
    assert [cell.arm for cell in by_arm(idle)] == [
        "push", "push_again", "polling", "floors",
        "polling@0.001", "polling@0.005", "polling@0.02", "polling@0.1", "polling@0.5", "polling@1",
    ]  # fmt: skip


def test_the_order_measured_does_not_matter():
    cells = fake_run().cells
    names = [cell.arm for cell in by_arm(cells)]
    assert [cell.arm for cell in by_arm(reversed(cells))] == names


@pytest.mark.parametrize(
    ("arm", "value"),
    [("polling@0.5", 0.5), ("a@b@1e-3", 0.001), ("polling", None), ("me@home", None), ("x@", None)],
)
def test_a_swept_arm_carries_its_value(arm, value):
    assert swept_value(arm) == value
    assert is_swept(arm) is (value is not None)


def test_the_arm_with_the_shortest_name_stands_for_its_stack():
    cells = fake_run().cells
    assert reference_arms(cells, "memory") == {"push": "push", "polling": "polling"}
    assert reference_arms([c for c in cells if c.arm in ("push_again", "push_asyncio")], "memory") == {
        "push": "push_again"
    }
    assert reference_arms([], "memory") == {}


def test_arms_of_observations_have_the_same_order():
    places = arm_order(fake_observations())
    assert sorted(places, key=places.__getitem__) == list(
        dict.fromkeys(c.arm for c in by_arm(fake_run().cells))
    )
