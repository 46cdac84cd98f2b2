"""What an open claim requires: runs of which networks, by which protocol, how many. Nothing is measured here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from awbench.errors import UserError
from awbench.planning.power import runs_for_power
from awbench.planning.protocols import TrainingProtocol, default_protocol, protocol_of
from awbench.records import Records
from awbench.reference.claim import Claim
from awbench.reference.load import References
from awbench.variants import ARCHITECTURES, parse_variant
from awbench.verdicts.claims import JudgedClaim, Pair, Runs, margin_of, trained_runs
from awbench.verdicts.deviation import RunToRunDeviation, published_deviation
from awbench.verdicts.gain import bonferroni
from awbench.verdicts.index import records_of
from awbench.verdicts.pairs import architecture_of
from awbench.verdicts.runs import by_seed, values_of

ARCHITECTURE = "resnet101"  # what `awbench reproduce` trains
# Of each network, where nothing says how far runs lie apart: the least that has a standard deviation.
PILOT_RUNS = 2
DECIDED = ("reproduced", "contradicted")


@dataclass(frozen=True, order=True)
class PlannedRun:
    """One training run: shared by all claims that need it."""

    network: str
    protocol: TrainingProtocol
    seed: int

    @property
    def way(self) -> TrainingProtocol:  # for report, until it is renamed there
        return self.protocol


Run = PlannedRun  # for report, until it is renamed there


@dataclass(frozen=True)
class PairPlan:
    """What one network over another requires.

    Attributes:
        level: of the interval that this pair will be judged by, when all that is planned was measured.
        power: probability that a gain that is exactly the claimed one is then reproduced by this pair.
        deviation: standard deviation between runs and where it comes from; None where unknown: a pilot finds it.
        runs: of each network, all told; None where a thousand are too few.
        have: runs of each that are recorded.
        add: runs of each that are missing.
    """

    variant: str
    over: str
    level: float
    power: float
    deviation: RunToRunDeviation | None
    runs: int | None
    have: tuple[int, int]
    add: tuple[int, int]


@dataclass(frozen=True)
class ClaimPlan:
    """What one open claim requires.

    Attributes:
        runs: all that are missing, with an ImageNet run of each backbone that a detector needs and nothing has.
        restarted: networks that are planned anew, since no command of ours makes more runs like those recorded.
    """

    judged: JudgedClaim
    pairs: tuple[PairPlan, ...]
    runs: frozenset[PlannedRun]
    restarted: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return self.judged.claim.id

    @property
    def pilot(self) -> bool:
        """Whether its runs only tell how many more are needed."""
        return any(pair.deviation is None for pair in self.pairs)

    @property
    def possible(self) -> bool:
        return all(pair.runs is not None for pair in self.pairs)


def planned_pairs(judged: JudgedClaim, depth: int | None) -> list[Pair]:
    """The pairs that answer a claim, of those it speaks of.

    "equal" holds of every pair. "up to" is answered by all pairs of one depth: the best of them shows the gain, or
    none does; where each of those is decided and the claim still open, by the undecided ones of other depths.

    Raises:
        UserError: no pair has that depth.
    """
    claim, pairs = judged.claim, list(judged.pairs)
    if claim.relation == "equal" or not claim.names_settings:
        return pairs
    networks = list(dict.fromkeys(architecture_of(pair.variant) for pair in pairs))
    asked = None if depth is None else f"resnet{depth}"
    concerned = asked and (asked not in ARCHITECTURES or ARCHITECTURES[asked].family == claim.family)
    if concerned and asked not in networks:
        offered = ", ".join(str(ARCHITECTURES[network].depth) for network in networks)
        raise UserError(f"--depth {depth} is not offered for claim {claim.id} on {claim.dataset}; use one of {offered}")
    wanted = next((preferred for preferred in (asked, ARCHITECTURE) if preferred in networks), networks[0])
    chosen = [pair for pair in pairs if architecture_of(pair.variant) == wanted]
    if all(pair.verdict.outcome in DECIDED for pair in chosen):
        return [pair for pair in pairs if pair.verdict.outcome == "inconclusive"]
    return chosen


@dataclass(frozen=True)
class _Recorded:
    """The runs of a pair that are continued.

    Attributes:
        protocol: of these runs, or of those to come.
        left_aside: networks that have runs, but none by this protocol.
        least: runs of each that it takes to be judged by them.
    """

    protocol: TrainingProtocol
    runs: tuple[Runs, Runs]
    left_aside: tuple[str, ...]
    least: int


@dataclass(frozen=True)
class Planner:
    """Plans claims one by one. Attributes: level, of all claims' intervals together; others as of `plan`."""

    records: Records
    references: References
    power: float
    level: float
    assumed: Mapping[str, float]
    backbones: frozenset[str]

    def plan(self, judged: JudgedClaim, pairs: list[Pair]) -> ClaimPlan:
        """What one claim requires of these pairs."""
        claim = judged.claim
        names = {(pair.variant, pair.over) for pair in [*pairs, *(p for p in judged.pairs if p.measured)]}
        level = bonferroni(self.level, len(names))
        # "equal" is reproduced when every pair shows it, so each must have the more power.
        power = bonferroni(self.power, len(pairs)) if claim.relation == "equal" else self.power
        plans, runs, restarted = [], set[PlannedRun](), list[str]()
        for pair in pairs:
            recorded = self._recorded(claim, pair)
            restarted += recorded.left_aside
            planned = self._plan_pair(claim, pair, level, power, recorded)
            plans.append(planned)
            for name, present, add in zip((pair.variant, pair.over), recorded.runs, planned.add, strict=True):
                runs |= {PlannedRun(name, recorded.protocol, seed) for seed in _free_seeds(present, add)}
        detectors = {run.network for run in runs if run.protocol.dataset == "coco"}
        runs |= {run for name in detectors if (run := self._backbone(claim, name))}
        return ClaimPlan(judged, tuple(plans), frozenset(runs), tuple(dict.fromkeys(restarted)))

    def _recorded(self, claim: Claim, pair: Pair) -> _Recorded:
        names, default = (pair.variant, pair.over), default_protocol(claim.dataset_name)
        sides = [trained_runs(claim, name, self.records) for name in names]

        def count(key: str) -> tuple[int, int]:
            numbers = [len(side.get(key, ())) for side in sides]
            return min(numbers), sum(numbers)

        protocols = {key: found for side in sides for key, runs in side.items() if (found := protocol_of(runs[0]))}
        # One that both were trained by is continued; one of one side alone, if it is the project's.
        continued = [key for key, found in protocols.items() if count(key)[0] or replace(found, engine="") == default]
        best = max(continued, key=count, default="")
        treated, baseline = (side.get(best, ()) for side in sides)
        judged_otherwise = pair.measured and treated != pair.treated
        return _Recorded(
            protocol=protocols.get(best, default),
            runs=(treated, baseline),
            left_aside=tuple(name for name, side in zip(names, sides, strict=True) if side and best not in side),
            # Of several protocols the one with the most runs is judged: this one must come to have more.
            least=min(pair.runs) + 1 if judged_otherwise else 0,
        )

    def _plan_pair(self, claim: Claim, pair: Pair, level: float, power: float, recorded: _Recorded) -> PairPlan:
        deviation = self._deviation(claim, recorded.runs)
        runs: int | None = PILOT_RUNS
        if deviation is not None:
            runs = runs_for_power(margin_of(claim), deviation.deviation, power, level)
        runs = max(runs, recorded.least) if runs else None
        treated, baseline = map(len, recorded.runs)
        # What is inconclusive with as many runs as were promised to do requires more all the same.
        least = 1 if pair.verdict.outcome == "inconclusive" else 0
        return PairPlan(
            variant=pair.variant,
            over=pair.over,
            level=level,
            power=power,
            deviation=deviation,
            runs=runs,
            have=(treated, baseline),
            add=(max(least, (runs or 0) - treated), max(least, (runs or 0) - baseline)),
        )

    def _deviation(self, claim: Claim, recorded: Iterable[Runs]) -> RunToRunDeviation | None:
        """Between runs of one network: of these runs, else of published reruns, else as it is assumed."""
        sides = [values_of(runs, claim.metric) for runs in recorded if len(runs) > 1]
        freedom = sum(len(side) - 1 for side in sides)
        squares = sum(statistics.variance(side) * (len(side) - 1) for side in sides)
        if squares > 0:
            return RunToRunDeviation(math.sqrt(squares / freedom), freedom, "these runs")
        published = published_deviation(claim.metric, claim.dataset, self.references.run_to_run)
        if published is None and claim.metric in self.assumed:
            return RunToRunDeviation(self.assumed[claim.metric], 0, "assumed")
        return published

    def _backbone(self, claim: Claim, detector: str) -> PlannedRun | None:
        """The ImageNet run that gives a detector its backbone; None where one is recorded, or its weights are given."""
        name, protocol = parse_variant(detector).backbone, default_protocol("imagenet")
        if name in self.backbones or trained_runs(claim, detector, self.records):  # these started from some
            return None
        if any(protocol_of(run) == protocol for run in records_of(self.records, "accuracy", name)):
            return None
        return PlannedRun(name, protocol, 0)


def _free_seeds(runs: Runs, count: int) -> list[int]:
    """The lowest seeds that no run has."""
    taken = by_seed(runs)
    return [seed for seed in range(len(taken) + count) if seed not in taken][:count]
