"""What to train so that open claims are answered: runs, their cost, and in which order. Nothing is measured here."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from awbench.errors import UserError
from awbench.records import Record, RecordStore
from awbench.reference.claims import (
    LEVEL,
    JudgedClaim,
    Pair,
    judge_claims,
    known_spread,
    margin_of,
    trained_runs,
    values_of,
)
from awbench.reference.load import References
from awbench.reference.measured import by_seed
from awbench.reference.source import CLAIM_DATASETS, SETTINGS, Claim
from awbench.reference.throughput import RunCost, choose_device, cost_of_run, throughputs
from awbench.reference.verdicts import Spread, bonferroni, runs_for_power
from awbench.reference.ways import Way, default_way, way_of
from awbench.variants import ARCHITECTURES, parse_variant

DEPTH = 101  # what `awbench reproduce` trains
# Of each network, where nothing says how runs scatter: the least that has a standard deviation.
PILOT_RUNS = 2
_DECIDED = ("reproduced", "contradicted")


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


@dataclass(frozen=True)
class Hours:
    """Of several runs, on one device.

    Attributes:
        hours: of those that are known.
        at_least: whether some are known by the plain network's alone.
        unknown: networks of which nothing is known.
    """

    hours: float
    at_least: bool
    unknown: tuple[str, ...]

    @property
    def known(self) -> bool:
        return not self.at_least and not self.unknown


@dataclass(frozen=True)
class Step:
    """A claim in its turn. Attributes: runs, those that no earlier step makes; cost, theirs."""

    claim: ClaimPlan
    runs: frozenset[Run]
    cost: Hours


@dataclass(frozen=True)
class Plan:
    """What open claims need.

    Attributes:
        device: on which hours are counted; "" where nothing was timed. others: those that could be asked for.
        costs: (network, way) -> what a run of it costs.
        steps: open claims in the order of execution. impossible: those that a thousand runs do not answer.
        unused: assumed deviations that were not needed, with the known one.
    """

    power: float
    device: str
    others: tuple[str, ...]
    claims_judged: int
    costs: Mapping[tuple[str, Way], RunCost]
    steps: tuple[Step, ...]
    impossible: tuple[ClaimPlan, ...]
    unused: Mapping[str, Spread]


def plan(
    store: RecordStore,
    references: References,
    power: float = 0.8,
    depth: int | None = None,
    device: str = "",
    assumed: Mapping[str, float] | None = None,
    backbones: Iterable[str] = (),
) -> Plan:
    """Plan the runs that open claims need.

    Args:
        power: probability that a claim that is exactly true is reproduced.
        depth: for claims on an attention setting; None for 101, or the first that fits the dataset.
        device: a part of a name, see `choose_device`.
        assumed: metric -> standard deviation between runs, in its unit, used where none is known.
        backbones: networks whose ImageNet weights are given.

    Raises:
        UserError: the depth does not fit a claim, or nothing was timed on the device.
    """
    assumed, store = assumed or {}, _ReadOnce(store.results)
    known = throughputs(store, references)
    chosen = choose_device(known, device)
    judged = judge_claims(store, references)
    open_claims = [one for one in judged if one.outcome not in _DECIDED]
    count = sum(one.outcome not in _DECIDED or any(pair.measured for pair in one.pairs) for one in judged)
    planner = _Planner(store, references, power, bonferroni(LEVEL, count), assumed, frozenset(backbones))
    plans = [planner.plan(one, planned_pairs(one, depth)) for one in open_claims]
    kinds = {(run.network, run.way) for one in plans for run in one.runs}
    costs = {(network, way): cost_of_run(network, way, known, chosen) for network, way in kinds}
    return Plan(
        power=power,
        device=chosen,
        others=tuple(dict.fromkeys(one.device for one in known if one.device != chosen)),
        claims_judged=count,
        costs=costs,
        steps=order([one for one in plans if one.possible], costs),
        impossible=tuple(one for one in plans if not one.possible),
        unused={metric: spread for metric in assumed if (spread := known_spread(metric, references.scatter))},
    )


class _ReadOnce(RecordStore):
    """Records that are read once, however often they are asked for."""

    def __init__(self, results: Path) -> None:
        super().__init__(results)
        self._loaded: dict[str, list[Record]] = {}

    def load(self, kind: str) -> list[Record]:
        if kind not in self._loaded:
            self._loaded[kind] = super().load(kind)
        return self._loaded[kind]


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
    depths = list(dict.fromkeys(parse_variant(pair.variant).depth for pair in pairs))
    family = {ARCHITECTURES[offered].family for offered in depths}
    if depth is not None and depth not in depths and (depth not in ARCHITECTURES or _family(depth) in family):
        offered = ", ".join(map(str, depths))
        raise UserError(f"--depth {depth} is not offered for claim {claim.id} on {claim.dataset}; use one of {offered}")
    wanted = next((one for one in (depth, DEPTH) if one in depths), depths[0])
    chosen = [pair for pair in pairs if parse_variant(pair.variant).depth == wanted]
    if all(pair.verdict.outcome in _DECIDED for pair in chosen):
        return [pair for pair in pairs if pair.verdict.outcome == "inconclusive"]
    return chosen


def _family(depth: int) -> str:
    return ARCHITECTURES[depth].family


def is_of_any_depth(claim: Claim) -> bool:
    """Whether it names attention settings, not networks."""
    sides = [[side] if isinstance(side, str) else side for side in (claim.variant, claim.over)]
    return any(name in SETTINGS for side in sides for name in side)


@dataclass(frozen=True)
class _Planner:
    store: RecordStore
    references: References
    power: float
    level: float
    assumed: Mapping[str, float]
    backbones: frozenset[str]

    def plan(self, judged: JudgedClaim, pairs: list[Pair]) -> ClaimPlan:
        claim = judged.claim
        names = {(pair.variant, pair.over) for pair in [*pairs, *(p for p in judged.pairs if p.measured)]}
        level = bonferroni(self.level, len(names))
        # "equal" is reproduced when every pair shows it, so each must have the more power.
        power = bonferroni(self.power, len(pairs)) if claim.relation == "equal" else self.power
        plans, runs, restarted = [], set[Run](), []
        for pair in pairs:
            way, recorded, left_aside = self._recorded(claim, pair)
            restarted += left_aside
            planned = self._pair(claim, pair, level, power, recorded)
            plans.append(planned)
            for name, have, add in zip((pair.variant, pair.over), recorded, planned.add, strict=True):
                runs |= {Run(name, way, seed) for seed in _free_seeds(have, add)}
        detectors = {run.network for run in runs if run.way.dataset == "coco"}
        runs |= {run for name in detectors if (run := self._backbone(claim, name))}
        return ClaimPlan(judged, tuple(plans), frozenset(runs), tuple(dict.fromkeys(restarted)))

    def _recorded(self, claim: Claim, pair: Pair) -> tuple[Way, list[tuple[Record, ...]], list[str]]:
        """(the way in which the pair's runs go on, those that are there of each, networks whose runs do not go on)."""
        sides: list[tuple[Record, ...]]
        if pair.measured:
            way, sides = way_of(pair.treated[0]), [pair.treated, pair.baseline]
            if way is not None and way == way_of(pair.baseline[0]):
                return way, sides, []
        default, sides, left_aside = default_way(CLAIM_DATASETS[claim.dataset]), [], []
        for name in (pair.variant, pair.over):
            found = [(way_of(runs[0]), runs) for runs in trained_runs(claim, name, self.store).values()]
            # Runs of one engine do not go on in another.
            alike = [(way, runs) for way, runs in found if way and replace(way, engine=default.engine) == default]
            way, runs = max(alike, key=lambda one: len(one[1]), default=(default, ()))
            default = way or default
            sides.append(runs)
            left_aside += [name] if found and not runs else []
        return default, sides, left_aside

    def _pair(
        self, claim: Claim, pair: Pair, level: float, power: float, recorded: list[tuple[Record, ...]]
    ) -> PairPlan:
        deviation = self.deviation(claim, recorded)
        runs: int | None = PILOT_RUNS
        if deviation is not None:
            runs = runs_for_power(margin_of(claim), deviation.deviation, power, level)
            # Of several ways the one with the most runs is judged: a new one must have more than what is left aside.
            other = 0 if recorded[0] or recorded[1] else min(pair.runs)
            runs = max(runs, other + 1) if runs else None
        have = (len(recorded[0]), len(recorded[1]))
        # What is inconclusive with as many runs as were promised to do needs more all the same.
        least = 1 if pair.verdict.outcome == "inconclusive" else 0
        missing = [max(least, (runs or 0) - count) for count in have]
        return PairPlan(pair.variant, pair.over, level, power, deviation, runs, have, (missing[0], missing[1]))

    def deviation(self, claim: Claim, recorded: Iterable[tuple[Record, ...]]) -> Spread | None:
        """Between runs of one network: of these runs, else of published reruns, else as it is assumed."""
        sides = [values_of(runs, claim.metric) for runs in recorded if len(runs) > 1]
        freedom = sum(len(side) - 1 for side in sides)
        squares = sum(statistics.variance(side) * (len(side) - 1) for side in sides)
        if squares > 0:
            return Spread(math.sqrt(squares / freedom), freedom, "these runs")
        known = known_spread(claim.metric, self.references.scatter)
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


def cost_of(runs: Iterable[Run], costs: Mapping[tuple[str, Way], RunCost]) -> Hours:
    """Of runs together; what is unknown is named, never taken for nothing."""
    each = [(run, costs[run.network, run.way]) for run in runs]
    return Hours(
        math.fsum(cost.hours for _, cost in each if cost.hours is not None),
        any(cost.at_least for _, cost in each),
        tuple(sorted({run.network for run, cost in each if cost.hours is None})),
    )


def order(plans: Iterable[ClaimPlan], costs: Mapping[tuple[str, Way], RunCost]) -> tuple[Step, ...]:
    """Claims that can be answered before pilots; of each, the cheapest first, runs of earlier steps not counted again.

    Those whose hours are not known come after those whose are, in their own order.
    """
    left, done, steps = list(plans), frozenset[Run](), []
    while left:
        candidates = [Step(one, one.runs - done, cost_of(one.runs - done, costs)) for one in left]
        step = min(candidates, key=_turn)
        steps.append(step)
        done |= step.runs
        left.remove(step.claim)
    return tuple(steps)


def _turn(step: Step) -> tuple[bool, bool, float]:
    known = step.cost.known
    return step.claim.pilot, not known, step.cost.hours if known else 0.0
