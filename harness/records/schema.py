"""The result schema.

Version history: 1, the first version.

Times are in seconds, sizes in bytes. A metric that could not be measured is null with a reason beside it.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from harness.stats.histogram import HistogramData

SCHEMA_VERSION = 1

Status = Literal["ok", "failed", "unsupported", "timeout"]
Verdict = Literal["pass", "fail", "inconclusive", "contaminated"]
ChangeVerdict = Literal["regressed", "improved", "unchanged", "inconclusive", "contaminated"]


class Disturbance(msgspec.Struct, frozen=True, kw_only=True):
    """What others did on this machine while a cell was measured; null where the machine does not tell.

    Attributes:
        others_cores: CPU time that everybody but the measured tree and its measurer used, in cores.
        steal_share: Share of the usable cores' time that the hypervisor gave to other machines.
        wait_cores: Time that threads of the tree waited for a core because of others, in cores.
        throttled_share: Share of the window in which a CPU quota held the tree up.
        frequency_hz: Mean clock of the usable cores at the end.
        culprits: Processes that used the most of it, as ``name (pid) 0.98 cores``.
        void: Why the cell is void, a sentence each; empty where it was quiet.
    """

    others_cores: float | None = None
    steal_share: float | None = None
    wait_cores: float | None = None
    throttled_share: float | None = None
    frequency_hz: float | None = None
    culprits: list[str] = []
    void: list[str] = []


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """One cell in one block: one sample of each metric, however many operations it took.

    Attributes:
        block: Number of the block, from 1.
        order: Position of the arm in its block, from 1.
        arm: Name of the arm in the suite.
        stack: System under test.
        loop: Event loop it ran on.
        mode: How its nodes were joined.
        workload: Name of the workload in the suite.
        kind: Which workload that is.
        params: Its parameters and the arm's settings.
        status: How it ended.
        reasons: Why it did not end well, or what to know about it.
        elapsed_s: Measured time.
        operations: Operations measured.
        log_levels: Log records by level, ``RAW`` for what bypassed logging.
        metrics: Metric name to value, null where it could not be measured.
        missing: Why it is null, by metric, where that is particular to the cell.
        texts: Answers that are compared, such as a model's digest.
        histograms: Latency distributions, as :meth:`harness.stats.histogram.Histogram.to_dict` gives them.
        attempt: 1, or more where the cell was void before in this block and was run again.
        disturbance: What others did meanwhile; null in runs made before it was kept.
    """

    block: int
    order: int
    arm: str
    stack: str
    loop: str
    mode: str
    workload: str
    kind: str
    params: dict[str, Any]
    status: Status
    reasons: list[str] = []
    elapsed_s: float = 0.0
    operations: int = 0
    log_levels: dict[str, int] = {}
    metrics: dict[str, float | None] = {}
    missing: dict[str, str] = {}
    texts: dict[str, str] = {}
    histograms: dict[str, HistogramData] = {}
    attempt: int = 1
    disturbance: Disturbance | None = None


class MetricSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of one cell over all blocks.

    Attributes:
        unit: Its unit.
        direction: ``lower`` or ``higher`` is better.
        value: Hodges-Lehmann estimate over the blocks; null where nothing was measured.
        ci_low: Lower one-sided 95 % bound, null with fewer than 5 blocks.
        ci_high: Upper one-sided 95 % bound, null with fewer than 5 blocks.
        n: Blocks that gave a value.
        reason: Why a value is missing, else empty.
    """

    unit: str
    direction: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    reason: str = ""


class CellRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One arm under one workload over all blocks. ``status`` is the worst of its observations."""

    arm: str
    stack: str
    loop: str
    mode: str
    workload: str
    params: dict[str, Any]
    status: Status
    metrics: dict[str, MetricSummary]
    texts: dict[str, list[str]]
    reasons: list[str]


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """What stands beside a criterion in the same row, for comparison; it decides nothing.

    Attributes:
        label: What is different: ``without warnings``, ``at 1 MiB``.
        value: Point estimate, in the criterion's unit; null where it could not be told.
        ci_low: Lower bound, null where there is none.
        ci_high: Upper bound, null where there is none.
        n: Blocks behind it.
        reason: Why there is no value, else empty.
    """

    label: str
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    reason: str = ""


class CriterionRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One acceptance criterion as decided.

    Attributes:
        kind: How it is decided; see :mod:`harness.acceptance.decide`.
        arm: Arm it is about.
        against: Arm it is compared with, empty where there is none.
        against_workload: Workload of that arm.
        unit: Unit of target and value.
        value: Point estimate.
        ci_low: Lower bound, null where there is none.
        ci_high: Upper bound, null where there is none.
        n: Blocks behind it.
        reason: Why, in one sentence.
        promise: Which of the promises it is about, such as ``cpu-idle``; empty for none.
        note: What to know about how it is measured, from the suite.
        beside: The same against milder baselines, at other sizes …, without a verdict.
        void: Cells that were void, in how many attempts, and who disturbed them, a line each.
    """

    id: str
    title: str
    kind: str
    mode: str
    workload: str
    metric: str
    arm: str
    against: str
    against_workload: str
    unit: str
    target: float
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    verdict: Verdict
    reason: str = ""
    promise: str = ""
    note: str = ""
    beside: list[Beside] = []
    void: list[str] = []


class Control(msgspec.Struct, frozen=True, kw_only=True):
    """The A/A control of one metric: how far two runs of the same arm lay apart.

    Attributes:
        arm: The arm that ran twice.
        spread: Largest absolute log-ratio between the two; null where only one of two was zero.
        difference: Largest absolute difference between the two, in the metric's unit.
        n: Pairs.
        centre: Hodges-Lehmann centre of the log-ratios of the second run to the first, by which a verdict can
            be overturned; null where it cannot be told, and in older records.
        shift: The same of the differences, in the metric's unit; null in older records.
    """

    arm: str
    workload: str
    metric: str
    spread: float | None
    difference: float
    n: int
    centre: float | None = None
    shift: float | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of two runs, or of two versions in one run, as compared.

    Attributes:
        arm: Arm of both sides.
        base: Median of the base, in the unit.
        candidate: Median of the candidate, likewise; times of a stored run as at the speed of the base's.
        ratio: Candidate over base, as estimated; null where a sample is zero.
        ci_low: Lower one-sided 95 % bound of the ratio, null where there is none.
        ci_high: Upper one-sided 95 % bound of the ratio, null where there is none.
        n: Samples of the side that has fewer.
        margin: Share by which it may become worse; where a sample is zero, the difference.
        p: Of the stronger of both suspicions: in a first batch of each metric by itself, where a fresh one
            confirmed it or the runs are stored adjusted by Holm's method.
        reason: Why, in one sentence.
        detectable: Smallest change, as the margin is given, that nine of ten such comparisons find; null
            where the samples are too few for any, are all the same, or in records made before it was kept.
    """

    arm: str
    workload: str
    metric: str
    unit: str
    direction: str
    base: float
    candidate: float
    ratio: float | None
    ci_low: float | None
    ci_high: float | None
    n: int
    margin: float
    p: float
    verdict: ChangeVerdict
    reason: str = ""
    detectable: float | None = None


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """How often the comparison errs on a class of machines, from A/A runs.

    Attributes:
        procedure: ``paired`` for versions measured side by side, ``stored`` for runs made apart.
        machine: Class of the machine, see :func:`harness.records.environment.machine_class`.
        measured_utc: When the base runs were made.
        comparisons: A/A comparisons that were drawn.
        alarms: Those with any change that a fresh batch confirmed.
        alarms_upper: Upper 95 % bound of that rate.
        injected: Comparisons with a slow-down in one metric, of what is detectable of it.
        detected: Those that found it, confirmed.
        detected_usual: Of as many with twice the usual margin, those that found it; null in older records.
        detected_doubled: Of as many with the metric doubled, those that found it; null in older records.
        detected_lower: Lower 95 % bound of the rate of ``detected``.
        agreed: Of ``pairs`` pairs of comparisons of the same two versions, those that agreed in every change
            they confirmed; null in older records.
        pairs: Those pairs: in half of them one metric was made worse.
        kappa: Cohen's kappa of their answers to "did anything regress?"; null where all were the same.
        blocks: Blocks of each batch, or of each stored run.
    """

    procedure: Literal["paired", "stored"]
    machine: str
    measured_utc: str
    comparisons: int
    alarms: int
    alarms_upper: float
    injected: int
    detected: int
    detected_lower: float
    detected_usual: int | None = None
    detected_doubled: int | None = None
    agreed: int | None = None
    pairs: int = 0
    kappa: float | None = None
    blocks: int


class ComparisonRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison, as ``comparison.json`` holds it.

    Attributes:
        kind: Which command made it: ``compare``, ``check`` or ``ab``.
        base: Name of the base: a run, a baseline, a revision.
        candidate: Name of the candidate.
        paired: Whether both sides were measured in the same blocks.
        changes: Every gated metric that both sides have.
        not_compared: What was not, and why.
        warnings: What to know about it.
        rates: How often it errs on this class of machines, null if it was not calibrated here.
        undecided: Metrics that are inconclusive or contaminated; null in records made before it was kept.
        power: What would have been found in those, in a sentence; empty where everything is decided.
        alike: What moved alike, if nearly everything did, in a sentence; else empty.
    """

    schema_version: int = SCHEMA_VERSION
    kind: Literal["compare", "check", "ab"]
    base: str
    candidate: str
    command: str
    created_utc: str
    paired: bool
    environment: dict[str, Any]
    changes: list[Change]
    not_compared: list[str]
    warnings: list[str]
    rates: Rates | None
    verdict: str
    reason: str
    exit_code: int
    undecided: int | None = None
    power: str = ""
    alike: str = ""


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A whole run, as ``run.json`` holds it.

    Attributes:
        profiled: Whether a profiler looked into its workers: its numbers are comparable with no others.
        control_arms: Arms that ran for an A/A control alone; empty in runs made before they were kept.
        asked_sha256: Digest of the ``suite.json`` beside it; empty in runs made before it was kept.
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str
    suite: str
    title: str
    command: str
    seed: int
    blocks_planned: int
    blocks_done: int
    started_utc: str
    duration_s: float
    environment: dict[str, Any]
    order: list[list[str]]
    cells: list[CellRecord]
    criteria: list[CriterionRecord]
    controls: list[Control]
    warnings: list[str]
    not_measured: list[str]
    ended: Literal["complete", "interrupted", "budget"]
    verdict: str
    reason: str
    exit_code: int
    profiled: bool = False
    control_arms: list[str] = []
    asked_sha256: str = ""
