"""What an open claim needs: runs of which networks, in which way, how many. Nothing is measured here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from awbench.errors import UserError
from awbench.records import Record, RecordStore
from awbench.reference.claims import JudgedClaim, Pair, known_spread, margin_of, trained_runs, values_of
from awbench.reference.load import References
from awbench.reference.measured import by_seed
from awbench.reference.source import CLAIM_DATASETS, SETTINGS, Claim
from awbench.reference.verdicts import Spread, bonferroni, runs_for_power
from awbench.reference.ways import Way, default_way, way_of
from awbench.variants import ARCHITECTURES, parse_variant

ARCHITECTURE = "resnet101"  # what `awbench reproduce` trains
# Of each network, where nothing says how runs scatter: the least that has a standard deviation.
PILOT_RUNS = 2
DECIDED = ("reproduced", "contradicted")


@dataclass(frozen=True)
class Run:
    """One training run: shared by all claims that need it."""

    network: str
    way: Way
    seed: int


@dataclass(frozen=True)
class PairPlan:
    """What one network over another needs.

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
    deviation: Spread | None
    runs: int | None
    have: tuple[int, int]
    add: tuple[int, int]


@dataclass(frozen=True)
class ClaimPlan:
    """What one open claim needs.

    Attributes:
        runs: all that are missing, with an ImageNet run of each backbone that a detector needs and nothing has.
        restarted: networks that are planned anew, since no command of ours makes more runs like those recorded.
    """

    judged: JudgedClaim
    pairs: tuple[PairPlan, ...]
    runs: frozenset[Run]
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
    if claim.relation == "equal" or not is_of_any_depth(claim):
        return pairs
    networks = list(dict.fromkeys(parse_variant(pair.variant).architecture_name for pair in pairs))
    asked = None if depth is None else f"resnet{depth}"
    family = {ARCHITECTURES[network].family for network in networks}
    if asked and asked not in networks and (asked not in ARCHITECTURES or ARCHITECTURES[asked].family in family):
        offered = ", ".join(str(ARCHITECTURES[network].depth) for network in networks)
        raise UserError(f"--depth {depth} is not offered for claim {claim.id} on {claim.dataset}; use one of {offered}")
    wanted = next((one for one in (asked, ARCHITECTURE) if one in networks), networks[0])
    chosen = [pair for pair in pairs if parse_variant(pair.variant).architecture_name == wanted]
    if all(pair.verdict.outcome in DECIDED for pair in chosen):
        return [pair for pair in pairs if pair.verdict.outcome == "inconclusive"]
    return chosen


def is_of_any_depth(claim: Claim) -> bool:
    """Whether it names attention settings, not networks."""
    sides = [[side] if isinstance(side, str) else side for side in (claim.variant, claim.over)]
    return any(name in SETTINGS for side in sides for name in side)


@dataclass(frozen=True)
class _Recorded:
    """The runs of a pair that are gone on with.

    Attributes:
        way: of these runs, or of those to come.
        left_aside: networks that have runs, but none of this way.
        least: runs of each that it takes to be judged by them.
    """

    way: Way
    runs: tuple[tuple[Record, ...], tuple[Record, ...]]
    left_aside: tuple[str, ...]
    least: int


@dataclass(frozen=True)
class Planner:
    """Plans claims one by one. Attributes: level, of all claims' intervals together; others as of `plan`."""

    store: RecordStore
    references: References
    power: float
    level: float
    assumed: Mapping[str, float]
    backbones: frozenset[str]

    def plan(self, judged: JudgedClaim, pairs: list[Pair]) -> ClaimPlan:
        """What one claim needs of these pairs."""
        claim = judged.claim
        names = {(pair.variant, pair.over) for pair in [*pairs, *(p for p in judged.pairs if p.measured)]}
        level = bonferroni(self.level, len(names))
        # "equal" is reproduced when every pair shows it, so each must have the more power.
        power = bonferroni(self.power, len(pairs)) if claim.relation == "equal" else self.power
        plans, runs, restarted = [], set[Run](), list[str]()
        for pair in pairs:
            recorded = self._recorded(claim, pair)
            restarted += recorded.left_aside
            planned = self._pair(claim, pair, level, power, recorded)
            plans.append(planned)
            for name, have, add in zip((pair.variant, pair.over), recorded.runs, planned.add, strict=True):
                runs |= {Run(name, recorded.way, seed) for seed in _free_seeds(have, add)}
        detectors = {run.network for run in runs if run.way.dataset == "coco"}
        runs |= {run for name in detectors if (run := self._backbone(claim, name))}
        return ClaimPlan(judged, tuple(plans), frozenset(runs), tuple(dict.fromkeys(restarted)))

    def _recorded(self, claim: Claim, pair: Pair) -> _Recorded:
        names, default = (pair.variant, pair.over), default_way(CLAIM_DATASETS[claim.dataset])
        sides = [trained_runs(claim, name, self.store) for name in names]

        def count(key: str) -> tuple[int, int]:
            numbers = [len(side.get(key, ())) for side in sides]
            return min(numbers), sum(numbers)

        ways = {key: way for side in sides for key, runs in side.items() if (way := way_of(runs[0]))}
        # One that both were trained in goes on; what one alone was trained in, if it is the project's.
        going_on = [key for key, way in ways.items() if count(key)[0] or replace(way, engine="") == default]
        best = max(going_on, key=count, default="")
        runs = [side.get(best, ()) for side in sides]
        judged_otherwise = pair.measured and runs[0] != pair.treated
        return _Recorded(
            ways.get(best, default),
            (runs[0], runs[1]),
            tuple(name for name, side in zip(names, sides, strict=True) if side and best not in side),
            # Of several ways the one with the most runs is judged: this one must come to have more.
            min(pair.runs) + 1 if judged_otherwise else 0,
        )

    def _pair(self, claim: Claim, pair: Pair, level: float, power: float, recorded: _Recorded) -> PairPlan:
        deviation = self._deviation(claim, recorded.runs)
        runs: int | None = PILOT_RUNS
        if deviation is not None:
            runs = runs_for_power(margin_of(claim), deviation.deviation, power, level)
        runs = max(runs, recorded.least) if runs else None
        have = (len(recorded.runs[0]), len(recorded.runs[1]))
        # What is inconclusive with as many runs as were promised to do needs more all the same.
        least = 1 if pair.verdict.outcome == "inconclusive" else 0
        missing = [max(least, (runs or 0) - count) for count in have]
        return PairPlan(pair.variant, pair.over, level, power, deviation, runs, have, (missing[0], missing[1]))

    def _deviation(self, claim: Claim, recorded: Iterable[tuple[Record, ...]]) -> Spread | None:
        """Between runs of one network: of these runs, else of published reruns, else as it is assumed."""
        sides = [values_of(runs, claim.metric) for runs in recorded if len(runs) > 1]
        freedom = sum(len(side) - 1 for side in sides)
        squares = sum(statistics.variance(side) * (len(side) - 1) for side in sides)
        if squares > 0:
            return Spread(math.sqrt(squares / freedom), freedom, "these runs")
        known = known_spread(claim.metric, claim.dataset, self.references.scatter)
        if known is None and claim.metric in self.assumed:
            return Spread(self.assumed[claim.metric], 0, "assumed")
        return known

    def _backbone(self, claim: Claim, detector: str) -> Run | None:
        """The ImageNet run that gives a detector its backbone; None where one is recorded, or its weights are given."""
        name, way = parse_variant(detector).backbone, default_way("imagenet")
        if name in self.backbones or trained_runs(claim, detector, self.store):  # these started from some
            return None
        for record in self.store.load("accuracy"):
            trained = record.variant == name and record.settings["origin"] == "trained"
            if trained and record.settings["dataset"] == way.dataset and way_of(record) == way:
                return None
        return Run(name, way, 0)


def _free_seeds(have: Iterable[Record], count: int) -> list[int]:
    """The lowest seeds that no run has."""
    taken = by_seed(have)
    return [seed for seed in range(len(taken) + count) if seed not in taken][:count]
