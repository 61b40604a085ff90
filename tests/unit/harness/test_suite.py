from dataclasses import replace

import pytest

from fedbench.errors import ConfigError
from harness.acceptance.criteria import Criterion
from harness.suite import Arm, Suite, WorkloadSpec, cells_of


def arm(name: str, *workloads: str) -> Arm:
    return Arm(name, "push", "memory", "asyncio", {}, workloads)


def criterion(kind: str, **names: str) -> Criterion:
    known = {"id": kind, "workload": "idle", "metric": "cpu_cores", "arm": "push", "against": "polling"}
    return Criterion(kind=kind, title="", **{**known, **names})


CRITERIA = (
    criterion("limit", workload="ping", against=""),
    criterion("reduction", valid_if="faults"),
    criterion("ratio", against="floors", against_workload="hop"),
    criterion("equal", workload="digits", arm="", against=""),
    criterion("frontier", workload2="notify", metric2="latency_p50_s"),
)


@pytest.fixture
def suite() -> Suite:
    workloads = {
        "ping": WorkloadSpec("ping", "rpc_ping", {"clients": 10, "duration_s": 1.0}),
        "idle": WorkloadSpec("idle", "idle_federation", {"clients": 20, "exact": False}),
        "hop": WorkloadSpec("hop", "floor", {"operation": "hop"}),
        **{name: WorkloadSpec(name, name, {}) for name in ("faults", "digits", "notify")},
    }
    arms = [
        arm("push", "ping", "idle", "faults", "digits", "notify"),
        arm("polling", "ping", "idle", "faults", "digits"),
        arm("floors", "hop"),
        arm("polling@1", "idle", "notify"),
        arm("polling@2", "idle", "notify"),
    ]
    return Suite("s", "S", 5, "arm", {a.name: a for a in arms}, workloads, CRITERIA)


def ids(suite: Suite) -> list[str]:
    return [c.id for c in suite.criteria]


def params(suite: Suite, workload: str) -> dict[str, object]:
    return suite.workloads[workload].params


# select


@pytest.mark.parametrize("pattern", ["", ".", "/"])
def test_a_pattern_that_fits_everything_changes_nothing(suite: Suite, pattern: str) -> None:
    assert suite.select(pattern) == suite


def test_cells_are_chosen_by_arm_and_workload(suite: Suite) -> None:
    chosen = suite.select("^push/(ping|idle)|floors")
    assert {name: a.workloads for name, a in chosen.arms.items()} == {
        "push": ("ping", "idle"),
        "floors": ("hop",),
    }
    assert suite.arms["push"].workloads[-1] == "notify"  # the suite itself stays as it is


@pytest.mark.parametrize(
    ("pattern", "kept"),
    [
        ("push/ping", ["limit"]),
        ("^(push|polling)/(idle|faults)", ["reduction"]),
        ("^(push|polling)/idle|^polling/faults", []),  # push must report faults too
        ("^(push|polling)/idle|^push/faults", []),
        ("push/idle|floors/hop", ["ratio"]),
        ("digits", ["equal"]),
        ("push/digits", []),
        ("^push/(idle|notify)|@", ["frontier"]),
        ("^push/idle|@", []),  # push lacks the second workload
        ("^push/(idle|notify)|@1", []),  # part of a curve is not the curve
        ("nothing at all", []),
    ],
)
def test_a_criterion_that_loses_a_cell_is_dropped_and_listed(
    suite: Suite, pattern: str, kept: list[str]
) -> None:
    chosen = suite.select(pattern)
    assert ids(chosen) == kept
    assert chosen.dropped == tuple(c.id for c in CRITERIA if c.id not in kept)


def test_what_was_dropped_stays_listed_when_more_is_selected(suite: Suite) -> None:
    chosen = suite.select("push/").select("push/ping")
    assert (ids(chosen), chosen.dropped) == (["limit"], ("reduction", "ratio", "equal", "frontier"))


def test_without_a_match_no_arm_is_left(suite: Suite) -> None:
    assert suite.select("nothing").arms == {}


def test_a_pattern_that_is_no_regular_expression_is_named(suite: Suite) -> None:
    with pytest.raises(ConfigError, match=r"-k: '\(' is no regular expression"):
        suite.select("(")


def test_the_cells_of_a_criterion_are_all_it_rests_on(suite: Suite) -> None:
    cells = {c.id: cells_of(c, suite.arms) for c in CRITERIA}
    assert cells == {
        "limit": {("push", "ping")},
        "reduction": {("push", "idle"), ("polling", "idle"), ("push", "faults"), ("polling", "faults")},
        "ratio": {("push", "idle"), ("floors", "hop")},
        "equal": {("push", "digits"), ("polling", "digits")},
        "frontier": {(name, w) for name in ("push", "polling@1", "polling@2") for w in ("idle", "notify")},
    }
    limit = replace(CRITERIA[0], valid_if="faults")
    assert cells_of(limit, suite.arms) == {("push", "ping"), ("push", "faults")}


# override


def test_a_parameter_is_changed_everywhere_or_in_one_workload(suite: Suite) -> None:
    changed = suite.override(["clients=3"])
    assert [params(changed, name)["clients"] for name in ("ping", "idle")] == [3, 3]
    changed = suite.override(["clients=3", "idle.clients=4", "ping.duration_s=2"])
    assert params(changed, "ping") == {"clients": 3, "duration_s": 2.0}
    assert params(changed, "idle")["clients"] == 4
    assert params(suite, "ping") == {"clients": 10, "duration_s": 1.0}  # the suite itself stays as it is
    assert suite.override([]) == suite


@pytest.mark.parametrize(
    ("assignment", "workload", "name", "value"),
    [
        ("clients=1", "ping", "clients", 1),
        ("duration_s=0.5", "ping", "duration_s", 0.5),
        ("exact=True", "idle", "exact", True),
        ("exact=false", "idle", "exact", False),
        ("operation=a=b", "hop", "operation", "a=b"),
    ],
)
def test_a_value_takes_the_type_of_its_parameter(
    suite: Suite, assignment: str, workload: str, name: str, value: object
) -> None:
    found = params(suite.override([assignment]), workload)[name]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("clients", "clients: changes nothing; write [workload.]param=value"),
        ("", "changes nothing; write [workload.]param=value"),
        ("client=3", "client=3: changes nothing; did you mean 'clients'?"),
        ("ping.exact=true", "changes nothing; known: clients, duration_s"),
        ("pong.clients=3", "changes nothing: unknown workload 'pong'; did you mean 'ping'?"),
        ("clients=many", "clients=many: expected a whole number, found 'many'"),
        ("clients=1.5", "expected a whole number, found '1.5'"),
        ("clients=-1", "-1 is below 1"),
        ("clients=", "expected a value, found nothing"),
        ("operation=", "expected a value, found nothing"),
        ("duration_s=long", "expected a number, found 'long'"),
        ("duration_s=0", "0.0 is out of range: more than 0 is needed"),
        ("duration_s=nan", "nan is out of range"),
        ("duration_s=inf", "inf is out of range"),
        ("exact=1", "expected true or false, found '1'"),
    ],
)
def test_an_assignment_that_cannot_be_made_says_why(suite: Suite, assignment: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        suite.override([assignment])
    assert caught.value.source == "--set"
    assert message in str(caught.value)
    assert len(caught.value.problems) == 1  # once, however many workloads it would have touched


def test_all_wrong_assignments_are_reported_together(suite: Suite) -> None:
    with pytest.raises(ConfigError) as caught:
        suite.override(["clients=x", "clients=2", "clint=3"])
    assert [problem.path for problem in caught.value.problems] == ["clients=x", "clint=3"]
