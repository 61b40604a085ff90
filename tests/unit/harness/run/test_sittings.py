import msgspec
import pytest

from harness.records.environment import pressure
from harness.run.sittings import begun, ended, sittings_of


def at(load: float) -> dict[str, object]:
    return {"load": [load, 0.0, 0.0], "stall_share": {"cpu": None}, "cpu_ticks": {"all": 2, "steal": 1}}


def loads(environment: dict[str, object]) -> list[tuple[float, float]]:
    return [(s.before.load[0], s.after.load[0]) for s in sittings_of(environment)]


def test_a_run_of_one_sitting_has_its_two_ends_alone() -> None:
    run = ended({"before": at(1), "cores": 2}, at(2))
    assert run == {"before": at(1), "cores": 2, "after": at(2)}
    assert loads(run) == [(1, 2)]


def test_each_sitting_keeps_its_own_ends() -> None:
    broken = ended({"before": at(1)}, at(2))
    resumed = begun(broken, at(3))
    assert loads(resumed) == [(1, 2), (3, 3)]  # killed at once, it has ended as it began
    again = ended(begun(ended(resumed, at(4)), at(5)), at(6))
    assert loads(again) == [(1, 2), (3, 4), (5, 6)]
    assert (again["before"], again["after"]) == (at(1), at(6))


def test_what_a_machine_tells_is_understood() -> None:
    assert len(sittings_of(ended({"before": pressure()}, pressure()))) == 1


def test_what_was_edited_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="missing required field `before`"):
        sittings_of({"after": at(1)})
