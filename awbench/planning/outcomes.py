"""When questions of a study are answered, simulated by the rules that judge them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from awbench.verdicts.answers import Claimed
from awbench.verdicts.claims import JudgedClaim
from awbench.verdicts.interval import simultaneous
from awbench.verdicts.simulation import Design, Simulated, simulate
from awbench.verdicts.study import JudgedComparison, claimed_gain, pairs_of_question

Scenario = tuple[str, str]  # a truth, and a level of the deviation
TRUTHS = {"true": 1.0, "half": 0.5, "nothing": 0.0}  # how much of the claimed gain there is
POWER = 0.8  # of the fixed design
ENOUGH = 0.98  # of looks after every added seed
_STUDIES = 2000  # a probability of 0.8 is then known to about 0.01
_FEWEST_OPEN = 0.01
_MOST_FIXED, _MOST_LOOKS = 200, 40  # runs of each network
_ANY = 1e6  # a gain that no network has


@dataclass(frozen=True)
class Question:
    """What is asked of the gains of a study. Attributes: gain, of every pair if what is claimed is true."""

    design: Design
    gain: float


@dataclass(frozen=True)
class Outcome:
    """Of one question, under one truth and one deviation.

    Attributes:
        look: the number of looks that have passed without an answer.
        looks: at so many runs of each network there is one.
        answered: probability that it is answered by each look, of studies like this one that are not by `look`.
        still_open: probability that a study is not answered by `look`.
        as_claimed: probability that a study of this design, from its first look on, answers "as claimed".
    """

    look: int
    looks: tuple[int, ...]
    answered: tuple[float, ...]
    still_open: float
    as_claimed: float

    @property
    def surprising(self) -> bool:
        """Whether a study like this one would be answered by now."""
        return self.still_open < _FEWEST_OPEN

    @property
    def runs(self) -> float:
        """Mean number of runs of each network when it ends, at its answer or at the last look."""
        return mean_of_largest([self])

    def answered_by(self, runs: int) -> float:
        """With so many runs of each network."""
        return max((p for count, p in zip(self.looks, self.answered, strict=True) if count <= runs), default=0.0)

    def ended_by(self, runs: int) -> float:
        """The probability that it is over by so many runs of each, answered or at its last look."""
        return 1.0 if runs >= self.looks[-1] else self.answered_by(runs)


def outcome(question: Question, truth: str, deviation: float, look: int = 0) -> Outcome:
    """Of a question whose every pair gains `TRUTHS[truth]` of what is claimed."""
    found = _simulated(question.design, TRUTHS[truth] * question.gain, deviation)
    before = found.decided_by[look - 1] if look else 0.0
    still_open = 1 - before
    if still_open < _FEWEST_OPEN:  # of so few simulated studies nothing is said: the longest is expected
        answered = tuple(0.0 for _ in found.decided_by)
    else:
        answered = tuple(max(0.0, by - before) / still_open for by in found.decided_by)
    return Outcome(look, question.design.looks, answered, still_open, found.answers["as claimed"])


def mean_of_largest(outcomes: Iterable[Outcome]) -> float:
    """Mean number of runs of a network that stays until the last of several questions ends, taken as independent."""
    outcomes = list(outcomes)
    mean, before = 0.0, 0.0
    for count in sorted({count for each in outcomes for count in each.looks[each.look :]}):
        ended = math.prod(each.ended_by(count) for each in outcomes)
        mean += count * (ended - before)
        before = ended
    return mean


def fixed_runs(question: Question, deviation: float) -> float:
    """Runs of each network with which a single look answers a true claim with probability POWER; inf for too many."""

    def reached(runs: int) -> bool:
        design = replace(question.design, looks=(runs,))
        return _simulated(design, question.gain, deviation).answers["as claimed"] >= POWER

    return _smallest(reached, 1, _MOST_FIXED)


def runs_for_enough(question: Question, deviation: float) -> float:
    """Runs of each network at the last look with which looks after every added seed answer a true claim with
    probability ENOUGH; inf for too many.
    """
    first, last = question.design.looks[0], question.design.looks[-1]

    def reached(runs: int) -> bool:
        design = replace(question.design, looks=tuple(range(first, runs + 1)))
        return _simulated(design, question.gain, deviation).answers["as claimed"] >= ENOUGH

    return _smallest(reached, last, _MOST_LOOKS)


def _smallest(reached: Callable[[int], bool], few: int, most: int) -> float:
    """The smallest number above `few` that reaches it, of a property that larger ones have too.

    inf where it is not found below `most`, which is looked for by doubling; what is found may lie above it.
    """
    many = few + 1
    while not reached(many):
        few, many = many, many * 2
        if few >= most:
            return math.inf
    while many - few > 1:
        middle = (few + many) // 2
        few, many = (few, middle) if reached(middle) else (middle, many)
    return many


@functools.cache
def _simulated(design: Design, gain: float, deviation: float) -> Simulated:
    return simulate(design, [gain] * design.pairs, [deviation] * (2 * design.pairs + design.others), _STUDIES)


def question_of_comparison(judged: JudgedComparison) -> Question | None:
    """Of one pair, at the level that it has among those of its question; None where nothing says how large a gain is.

    Without a claim it is asked whether there is a gain at all; one that matters is taken for the true one.
    """
    study, claimed = judged.study, judged.claimed
    level = simultaneous(study.level, pairs_of_question(study, judged.comparison))
    others = max(0, len(study.labels) - 2)
    if study.purpose == "smoke test" or (claimed is None and study.matters is None):
        return None
    if claimed is None:
        return Question(Design(judged.looks, 1, others, level, Claimed(_ANY, _ANY)), float(study.matters or 0))
    upwards = Claimed(abs(claimed.value), claimed.margin)  # a claimed loss is answered as a gain is
    return Question(Design(judged.looks, 1, others, level, upwards), upwards.value)


def question_of_claim(judged: JudgedClaim) -> Question:
    """Of a claim as a whole: "up to" is about the largest gain of its pairs."""
    assert judged.study is not None
    study, pairs, claimed = judged.study.study, len(judged.comparisons), claimed_gain(judged.claim)
    upwards = Claimed(abs(claimed.value), claimed.margin)
    looks = max((pair.looks for pair in judged.comparisons), key=len)
    others = max(0, len(study.labels) - 2 * pairs)
    design = Design(looks, pairs, others, study.level, upwards, judged.claim.relation == "up_to")
    return Question(design, upwards.value)
