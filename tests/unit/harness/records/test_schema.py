import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.records.schema import (
    SCHEMA_VERSION,
    CellRecord,
    Control,
    CriterionRecord,
    MetricSummary,
    Observation,
    RunRecord,
)
from harness.stats.histogram import Histogram

finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(max_size=20)
plain = st.dictionaries(texts, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | finite | texts)


@st.composite
def histograms(draw: st.DrawFn) -> dict[str, object]:
    histogram = Histogram()
    for value in draw(st.lists(st.integers(0, 10**12), max_size=20)):
        histogram.record(value)
    return {"latency": histogram.to_dict()}


observations = st.builds(
    Observation,
    block=st.integers(1, 99),
    order=st.integers(1, 99),
    arm=texts,
    stack=texts,
    loop=texts,
    mode=texts,
    workload=texts,
    kind=texts,
    params=plain,
    status=st.sampled_from(["ok", "failed", "unsupported", "timeout"]),
    reasons=st.lists(texts),
    elapsed_s=finite,
    operations=st.integers(0, 10**9),
    metrics=st.dictionaries(texts, st.none() | finite),
    texts=st.dictionaries(texts, texts),
    histograms=histograms(),
)


@given(observations)
def test_an_observation_comes_back_from_json(observation: Observation) -> None:
    data = msgspec.json.encode(observation)
    assert msgspec.json.decode(data, type=Observation) == observation


def test_a_stored_histogram_can_still_be_asked() -> None:
    histogram = Histogram()
    histogram.record(2_000_000)
    known = {"block": 1, "order": 1, "params": {}, "status": "ok", "loop": "asyncio"}
    names = dict.fromkeys(("arm", "stack", "mode", "workload", "kind"), "x")
    observation = Observation(**known, **names, histograms={"latency": histogram.to_dict()})
    again = msgspec.json.decode(msgspec.json.encode(observation), type=Observation)
    assert Histogram.from_dict(again.histograms["latency"]).percentile(0.5) == 2_000_000


def test_a_run_comes_back_from_json() -> None:
    run = RunRecord(
        run_id="20260101T000000Z-quick-abc",
        suite="quick",
        title="Title",
        command="fedbench run",
        seed=7,
        blocks_planned=5,
        blocks_done=1,
        started_utc="2026-01-01T00:00:00Z",
        duration_s=1.5,
        environment={"cores": 2, "governor": None, "before": {"load": [0.1, 0.2, 0.3]}},
        order=[["push", "polling"]],
        cells=[
            CellRecord(
                arm="push",
                stack="push",
                loop="uvloop",
                mode="memory",
                workload="idle",
                params={"clients": 100},
                status="ok",
                metrics={
                    "cpu_cores": MetricSummary(
                        unit="cores", direction="lower", value=0.5, ci_low=None, ci_high=None, n=1
                    )
                },
                texts={"model_digest": ["ab"]},
                reasons=[],
            )
        ],
        criteria=[
            CriterionRecord(
                id="cpu",
                title="CPU",
                kind="limit",
                mode="memory",
                workload="idle",
                metric="cpu_cores",
                arm="push",
                against="",
                against_workload="",
                unit="cores",
                target=1.0,
                value=0.5,
                ci_low=0.5,
                ci_high=0.5,
                n=1,
                verdict="pass",
            )
        ],
        controls=[Control(arm="push", workload="idle", metric="cpu_cores", spread=None, difference=0.0, n=0)],
        warnings=["w"],
        not_measured=["n"],
        ended="complete",
        verdict="pass",
        reason="1 pass",
        exit_code=0,
    )
    assert run.schema_version == SCHEMA_VERSION == 1
    assert msgspec.json.decode(msgspec.json.encode(run), type=RunRecord) == run


def test_a_status_that_is_none_is_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"Invalid enum value 'fine'.*status"):
        msgspec.convert(
            {
                **dict.fromkeys(("arm", "stack", "loop", "mode", "workload", "kind"), "x"),
                "block": 1,
                "order": 1,
                "params": {},
                "status": "fine",
            },
            Observation,
        )
