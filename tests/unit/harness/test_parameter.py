from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedbench.configfile import Section
from fedbench.errors import Problem
from harness.parameter import Point, read_parameter, read_sweep

DEFAULTS: dict[str, Any] = {"clients": 100, "rate_per_s": 400.0, "floor": "", "watched": True, "warmup": 50}


def swept(data: dict[str, Any]) -> tuple[list[Point], dict[str, str]]:
    problems: list[Problem] = []
    found = read_sweep(Section(data, "workloads.w", problems), "workloads.w", DEFAULTS, problems)
    return found, {problem.path: problem.message for problem in problems}


@pytest.mark.parametrize(
    ("name", "value"),
    [("clients", 3), ("rate_per_s", 0.5), ("floor", "queue"), ("watched", False), ("warmup", 0)],
)
def test_a_value_is_of_the_type_of_its_default(name: str, value: Any) -> None:
    problems: list[Problem] = []
    assert read_parameter(Section({name: value}, "", problems), name, DEFAULTS[name]) == value
    assert read_parameter(Section({}, "", problems), name, DEFAULTS[name]) == DEFAULTS[name]
    assert problems == []


def test_without_a_sweep_there_are_no_points() -> None:
    assert swept({"clients": 3}) == ([], {})


def test_a_sweep_has_a_point_for_each_value() -> None:
    points, problems = swept({"sweep": {"rate_per_s": [1, 2.5, 1e6]}})
    assert problems == {}
    assert points == [
        Point("1", {"rate_per_s": 1.0}),
        Point("2.5", {"rate_per_s": 2.5}),
        Point("1e+06", {"rate_per_s": 1e6}),
    ]


def test_a_sweep_of_two_parameters_has_every_combination() -> None:
    points, problems = swept({"sweep": {"clients": [1, 10], "watched": [True, False]}})
    assert problems == {}
    assert [point.label for point in points] == ["1,true", "1,false", "10,true", "10,false"]
    assert points[1].params == {"clients": 1, "watched": False}


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=20, unique=True))
def test_points_stand_in_the_order_of_their_values_and_have_names_of_their_own(values: list[int]) -> None:
    points, problems = swept({"sweep": {"clients": values}})
    assert problems == {}
    assert [point.params["clients"] for point in points] == values
    assert len({point.label for point in points}) == len(values)


@pytest.mark.parametrize(
    ("data", "path", "message"),
    [
        ({"sweep": None}, "sweep", "expected one or two parameters with their values, found 0"),
        ({"sweep": [1]}, "sweep", "expected a mapping, found a list"),
        ({"sweep": {"clients": [1], "warmup": [1], "floor": ["x"]}}, "sweep", "one or two parameters"),
        ({"sweep": {"client": [1]}}, "sweep.client", "unknown parameter; did you mean 'clients'?"),
        ({"sweep": {"clients": 1}}, "sweep.clients", "expected a list of values"),
        ({"sweep": {"clients": []}}, "sweep.clients", "expected a list of values"),
        ({"sweep": {"clients": [1, 0]}}, "sweep.clients[1]", "0 is below 1"),
        ({"sweep": {"clients": [1, 2.5]}}, "sweep.clients[1]", "expected a whole number"),
        ({"sweep": {"clients": [1, None]}}, "sweep.clients[1]", "expected a value, found nothing"),
        ({"sweep": {"clients": [1, 2, 1]}}, "sweep.clients[2]", "1 stands there before"),
        ({"sweep": {"rate_per_s": [1.0000001, 1.0000002]}}, "sweep.rate_per_s[1]", "1 stands there before"),
        ({"clients": 3, "sweep": {"clients": [1]}}, "sweep.clients", "has a value beside the sweep"),
    ],
)
def test_a_wrong_sweep_is_named_with_its_place(data: dict[str, Any], path: str, message: str) -> None:
    _, problems = swept(data)
    assert message in problems.get(f"workloads.w.{path}", f"not among {problems}")
