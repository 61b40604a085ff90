from harness.acceptance.criteria import KINDS, Criterion


def test_the_kinds_are_those_of_the_type() -> None:
    assert KINDS == ("reduction", "limit", "ratio", "at_least", "at_most", "equal", "frontier")


def test_the_other_side_runs_the_same_workload_unless_it_is_named() -> None:
    criterion = Criterion("x", "X", "ratio", "rpc_ping", "latency_p50_s", "push", "floors")
    assert criterion.other_workload == "rpc_ping"
    named = Criterion("x", "X", "ratio", "rpc_ping", "latency_p50_s", "push", "floors", "floor_hop")
    assert named.other_workload == "floor_hop"
