"""What studies still need, when their questions are answered, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from awbench.planning.deviations import Deviations, deviations_of
from awbench.planning.hours import Hours
from awbench.planning.missing import Missing, missing_of_backbone, missing_of_network
from awbench.planning.outcomes import (
    ENOUGH,
    TRUTHS,
    Outcome,
    Question,
    Scenario,
    fixed_runs,
    outcome,
    question_of_claim,
    question_of_comparison,
    runs_for_enough,
)
from awbench.records import Records
from awbench.reference.load import References
from awbench.studies import Study
from awbench.verdicts.claims import JudgedClaim, judge_claims
from awbench.verdicts.evidence import Evidence, gather_evidence
from awbench.verdicts.study import JudgedComparison, JudgedStudy, judge_study


@dataclass(frozen=True)
class QuestionPlan:
    """When a claim, or a comparison without one, is answered.

    Attributes:
        name: the claim's id, or "a over b".
        comparisons: that it speaks of.
        open: whether it is not answered yet, and has a look to come.
        outcomes: empty where nothing is known of deviations or of the gain.
        fixed: runs of each network in a fixed design, by the level of the deviation; inf for too many.
        enough: runs of each at the last of enough looks, where those of the study are not; the same.
    """

    name: str
    comparisons: tuple[JudgedComparison, ...]
    open: bool
    outcomes: Mapping[Scenario, Outcome]
    fixed: Mapping[str, float]
    enough: Mapping[str, float]

    @property
    def headline(self) -> bool:
        """Whether it is what its study is about."""
        return any(pair.comparison.role == "primary" for pair in self.comparisons)

    def concerns(self, label: str) -> bool:
        """Whether it takes runs of this network."""
        return any(label in (pair.comparison.variant, pair.comparison.over) for pair in self.comparisons)


@dataclass(frozen=True)
class StudyPlan:
    """What one study needs. Attributes: backbones, runs of another study that its detectors start from."""

    judged: JudgedStudy
    deviations: Deviations | None
    questions: tuple[QuestionPlan, ...]
    networks: tuple[Missing, ...]
    backbones: tuple[Missing, ...]

    @property
    def study(self) -> Study:
        return self.judged.study

    @property
    def open(self) -> bool:
        """Whether runs are missing."""
        return any(network.largest for network in self.networks)

    @property
    def first_open(self) -> QuestionPlan | None:
        """The question of the headline, or the next one where that is answered."""
        waiting = [question for question in self.questions if question.open]
        return min(waiting, key=lambda question: not question.headline, default=None)


@dataclass(frozen=True)
class Plan:
    """Of several studies. Attributes: unstudied, claims that no study answers."""

    studies: tuple[StudyPlan, ...]
    unstudied: tuple[JudgedClaim, ...]


def plan(
    records: Records,
    references: References,
    studies: Sequence[Study],
    asked: Sequence[Study],
    deviations: Mapping[str, float],
    hours: Hours,
) -> Plan:
    """Plan what studies need.

    Args:
        studies: all that may answer claims.
        asked: those to plan; none for every one that answers a claim and has a look to come.
        deviations: given ones, by metric.
    """
    claims = judge_claims(records, references, studies)
    answers = [answer for claim in claims for answer in (claim, *claim.others)]
    judged = {_identity(answer.study.study): answer.study for answer in answers if answer.study}
    # Backbones come before the detectors that start from them.
    open_ = sorted((study.study for study in judged.values() if study.open), key=lambda study: bool(study.backbones))
    plans = []
    for study in asked or open_:
        of_study = judged.get(_identity(study)) or judge_study(
            study, records, [claim for _, claim in references.claims]
        )
        found = deviations_of(of_study.evidence, references, deviations)
        answering = [answer for answer in answers if answer.study is of_study]
        backbones = _backbones(study, judged, records)
        plans.append(_plan_study(of_study, answering, found, backbones, hours))
    return Plan(tuple(plans), tuple(claim for claim in claims if claim.study is None))


def _plan_study(
    judged: JudgedStudy,
    claims: Sequence[JudgedClaim],
    deviations: Deviations | None,
    backbones: Evidence | None,
    hours: Hours,
) -> StudyPlan:
    study, values = judged.study, deviations.values if deviations else {}
    questions = [
        *(
            _plan_question(c.claim.id, question_of_claim(c), c.comparisons, c.size == "undecided", values)
            for c in claims
        ),
        *(
            _plan_question(_name(pair), question_of_comparison(pair), (pair,), not pair.decided, values)
            for pair in judged.comparisons
            if pair.claimed is None
        ),
    ]
    scenarios = {(truth, level): value for truth in TRUTHS for level, value in values.items()}
    networks = []
    for label, run_hours in hours.of_study(study).items():
        concerned = [question.fixed for question in questions if question.concerns(label)]
        fixed = {level: max((runs.get(level, 0) for runs in concerned), default=0) for level in values}
        networks.append(missing_of_network(judged, label, run_hours, scenarios, fixed))
    started_from = _plan_backbones(backbones, study, networks, hours) if backbones else ()
    return StudyPlan(judged, deviations, tuple(questions), tuple(networks), tuple(started_from))


def _name(pair: JudgedComparison) -> str:
    return f"{pair.comparison.variant} over {pair.comparison.over}"


def _plan_question(
    name: str,
    question: Question | None,
    comparisons: tuple[JudgedComparison, ...],
    undecided: bool,
    values: Mapping[str, float],
) -> QuestionPlan:
    looks = [pair.look for pair in comparisons if pair.going] if undecided else []
    if question is None or not looks:
        return QuestionPlan(name, comparisons, bool(looks), {}, {}, {})
    outcomes = {(t, level): outcome(question, t, value, min(looks)) for t in TRUTHS for level, value in values.items()}
    fixed = {level: fixed_runs(question, value) for level, value in values.items()}
    short = {level: value for level, value in values.items() if outcomes["true", level].as_claimed < ENOUGH}
    enough = {level: runs_for_enough(question, value) for level, value in short.items()}
    return QuestionPlan(name, comparisons, True, outcomes, fixed, enough)


def _identity(study: Study) -> tuple[str, str]:
    """By which `load_studies` knows it, whatever its file is."""
    return study.name, study.digest


def _backbones(study: Study, judged: Mapping[tuple[str, str], JudgedStudy], records: Records) -> Evidence | None:
    """The runs that detectors start from; None where they start from others, or there are no detectors."""
    backbone_study = study.backbone_study
    if backbone_study is None:
        return None
    known = judged.get(_identity(backbone_study))
    return known.evidence if known else gather_evidence(backbone_study, records)


def _plan_backbones(backbones: Evidence, study: Study, networks: Sequence[Missing], hours: Hours) -> Iterable[Missing]:
    costs = hours.of_study(backbones.study)
    for label, runs in backbones.runs.items():
        variant = backbones.study.variant_of(label).name
        detectors = [network for network in networks if study.backbone_of(network.network) == label]
        if detectors:
            yield missing_of_backbone(variant, len(runs), detectors, costs[label])
