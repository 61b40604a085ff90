from dataclasses import replace

from msgspec import structs

from harness.acceptance.criteria import Aside
from tests.unit.harness.acceptance.cells import cell, criterion, judged


def test_what_stands_beside_is_estimated_and_decides_nothing() -> None:
    asides = (
        Aside("without warnings", against="polling_quiet"),
        Aside("twice", workload="busy"),
        Aside("no", "x"),
    )
    cells = [cell("push", [10.0] * 6), cell("polling", [100.0] * 6), cell("polling_quiet", [12.5] * 6)]
    cells += [cell("push", [10.0] * 4, "busy"), cell("polling", [20.0] * 4, "busy")]
    record = judged(criterion("reduction", 0.8, beside=asides), *cells)
    assert record.verdict == "pass"
    quiet, busy, none = record.beside
    assert (quiet.label, round(quiet.value, 6), round(quiet.ci_low, 6), quiet.n) == (
        "without warnings",
        0.2,
        0.2,
        6,
    )
    assert (busy.value, busy.ci_low, busy.n) == (0.5, None, 4)
    assert (none.value, none.n, none.reason) == (None, 0, "was not measured")


def test_another_metric_of_the_same_cells_may_stand_beside() -> None:
    values = [cell("push", [10.0] * 6), cell("polling", [100.0] * 6)]
    both = [structs.replace(o, metrics={**o.metrics, "wakeups_per_s": 50.0}) for made in values for o in made]
    record = judged(criterion("reduction", 0.8, beside=(Aside("wake-ups", metric="wakeups_per_s"),)), both)
    assert (record.value, record.beside[0].value) == (0.9, 0.0)


def along(saved: dict[int, float]) -> str:
    """Decide at 16 of a sweep with what is left of 100 at each size."""
    shown = tuple(Aside(f"at {size} MiB", workload=f"round@{size}") for size in saved if size != 16)
    what = criterion("reduction", 0.5, beside=shown, along="size", at="16")
    cells = [cell("push", [left] * 12, f"round@{size}") for size, left in saved.items()]
    cells += [cell("polling", [100.0] * 12, f"round@{size}") for size in saved]
    record = judged(replace(what, workload="round@16"), *cells)
    return record.reason


def test_a_sweep_names_the_size_from_which_it_holds() -> None:
    assert along({1: 90.0, 4: 40.0, 16: 30.0, 64: 30.0}) == "holds from 4 MiB on"
    assert along({1: 40.0, 4: 90.0, 16: 30.0, 64: 30.0}) == "holds from size 16 on"
    assert along({1: 40.0, 16: 30.0}) == "holds from 1 MiB on"
    assert along({1: 40.0, 16: 30.0, 64: 90.0}).endswith("holds at no size of size for certain")
