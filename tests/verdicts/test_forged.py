"""Studies and claims that were arranged after runs were seen, or so that they favour one side."""

from __future__ import annotations

import pytest
from claim_files import claim, claims_only
from study_files import write_study
from study_records import as_records, runs_of

from awbench.errors import UserError
from awbench.reference.load import load_references
from awbench.report.answers import shown_training
from awbench.studies import load_study
from awbench.verdicts.claims import judge_claims
from awbench.verdicts.evidence import gather_evidence
from awbench.verdicts.study import judge_study

FASHION = {
    "dataset": "fashion-mnist", "recipe": "fashion-mnist", "changes": None, "looks": [3], "purpose": "confirmatory",
    "matters": 0.2,
}  # fmt: skip


def test_a_confirmatory_study_runs_what_it_asks_about_itself(tmp_path):
    """Else a design that was chosen after another study's runs were seen would answer by them."""
    path = write_study(tmp_path, **FASHION, name="later", shares="fashion-mnist")
    study, first = load_study(path), load_study("fashion-mnist")
    plain = runs_of(first, "resnet20", [93.0, 93.1, 93.2])
    seen = runs_of(first, "aw_resnet20", [94.0, 94.1, 94.2])
    evidence = gather_evidence(study, as_records(plain, seen))
    assert [len(evidence.runs[label]) for label in ("resnet20", "aw_resnet20")] == [3, 0]
    reason = "made for study fashion-mnist; what a confirmatory study asks about, it runs itself"
    assert [left.reason for left in evidence.left_aside] == [reason] * 3
    own = runs_of(study, "aw_resnet20", [94.0, 94.1, 94.2], environment={"weights_sha256": "own"})
    own = [
        run.model_copy(update={"environment": run.environment | {"weights_sha256": str(n)}})
        for n, run in enumerate(own)
    ]
    (judged,) = judge_study(study, as_records(plain, own)).comparisons
    assert judged.look == 1 and judged.caveats == [
        "Runs of resnet20 were made for study fashion-mnist, maybe before this one was decided."
    ]
    exploring = load_study(
        write_study(tmp_path, **FASHION | {"purpose": "exploratory"}, name="ex", shares="fashion-mnist")
    )
    assert gather_evidence(exploring, as_records(plain, seen)).left_aside == ()


DECIDED = {"made": {"delta": 0.2, "margin": 0.1, "relation": "equal"}}
COMPARED = [{"variant": "aw_resnet20", "over": "resnet20", "claim": "made"}]


def made(**changes):
    of_it = {"variant": "aw_resnet20", "over": "resnet20", "delta": 0.2, "dataset": "Fashion-MNIST test", **changes}
    return claim("made", **of_it)


def judged_claim(folder, study, **changes):
    """The claim, whose file says this of it, by the study and runs that gain 0.2."""
    runs = [runs_of(study, label, values) for label, values in GAINED.items()]
    (judged,) = judge_claims(as_records(*runs), claims_only(folder / "references", made(**changes)), [study])
    return judged


GAINED = {"resnet20": [93.0, 93.02, 93.04], "aw_resnet20": [93.2, 93.22, 93.24]}


def test_a_claim_that_was_changed_after_the_study_was_decided_changes_no_answer(tmp_path):
    study = load_study(write_study(tmp_path, **FASHION | {"comparisons": COMPARED, "claims": DECIDED}))
    decided = judged_claim(tmp_path, study)
    assert decided.size == "as claimed" and decided.comparisons[0].caveats == []
    changed = judged_claim(tmp_path, study, delta=0.5, margin=0.01)
    assert (changed.size, changed.interval) == (decided.size, decided.interval)
    assert changed.claim.delta == decided.claim.delta
    assert changed.comparisons[0].caveats == [
        "Claim made was +0.2 within 0.1 (equal) when the study was decided, and is judged as that; its file says +0.5 "
        "within 0.01 (equal)."
    ]
    other = load_study(
        write_study(
            tmp_path / "other",
            **FASHION | {"comparisons": COMPARED, "claims": {"made": DECIDED["made"] | {"margin": 0.2}}},
        )
    )
    assert other.digest != study.digest


def test_a_study_that_does_not_say_what_its_claim_is_says_so(tmp_path):
    study = load_study(write_study(tmp_path, **FASHION | {"comparisons": COMPARED}))
    assert judged_claim(tmp_path, study).comparisons[0].caveats == [
        "What claim made says is not in the study's file: a change of it since is not seen."
    ]


def test_the_projects_studies_have_their_claims_as_the_abstract_has_them():
    for name in ("imagenet", "coco"):
        study = load_study(name)
        claims = {claim.id: claim for _, claim in load_references().claims}
        assert {comparison.claim for comparison in study.comparisons} == set(study.claims)
        for pair in judge_study(study, as_records(), claims.values()).comparisons:
            assert pair.caveats == []


def test_a_claim_is_not_answered_by_networks_that_differ_in_more_than_it_names(tmp_path):
    study = load_study(
        write_study(
            tmp_path,
            **FASHION,
            comparisons=[{"variant": "aw_se_resnet20", "over": "weak", "claim": "made"}],
            claims=DECIDED,
            networks={"weak": {"variant": "se_resnet20", "attention": {"reduction": 64}}},
        )
    )
    of_se = made(variant="aw_se_resnet20", over="se_resnet20")
    with pytest.raises(
        UserError, match="aw_se_resnet20 and weak have other attention options, and claim made is about"
    ):
        judge_claims(as_records(), claims_only(tmp_path / "references", of_se), [study])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "networks": {
                    "resnet20": {"variant": "aw_resnet20"},
                    "aw_resnet20": {"variant": "aw_resnet20", "aw": {"reduction": 4}},
                }
            },
            "networks.resnet20 is aw_resnet20, not resnet20; give it a name that no variant has",
        ),
        ({"level": 0.9999999999999998}, "level: Input should be less than or equal to 0.9999"),
        ({"claims": DECIDED}, "claims.made is named by no comparison"),
    ],
)  # fmt: skip
def test_a_study_file_that_misleads_is_refused(changes, message, tmp_path):
    with pytest.raises(UserError) as caught:
        load_study(write_study(tmp_path, **FASHION | changes))
    assert message in str(caught.value)


def test_changes_of_the_recipe_stand_beside_its_name(tmp_path):
    study = load_study(write_study(tmp_path, **FASHION | {"changes": ["optimizer.lr=0.01", "epochs=2"]}))
    assert shown_training(study) == "fashion-mnist, optimizer.lr=0.01, 2 epochs"
