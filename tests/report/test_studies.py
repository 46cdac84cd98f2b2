"""Studies of questions of our own: sentences, table, figure."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sample_records import latency_record
from study_files import write_study
from study_records import as_records, runs_of, study_run

import awbench
from awbench.cli.grid import count_study
from awbench.experiments.measurements import record_complexity
from awbench.records import Quantity, Records, RecordStore
from awbench.reference.load import load_references
from awbench.report.answers import shown_cost, study_object
from awbench.report.figures.studies import study_figures
from awbench.report.page.summary import answer
from awbench.report.studies import (
    answer_sentence,
    exploratory_summary,
    own_questions,
    studies_table,
    study_sentence,
)
from awbench.report.table import select
from awbench.studies import beside, load_study
from awbench.studies.study import STUDIES
from awbench.variants import ModelOptions, parse_variant
from awbench.verdicts.study import judge_study

FASHION = load_study("fashion-mnist")


def runs(plain, aw, others=True):
    """Made-up accuracies of the primary pair; the other networks scatter by 0.05 around 93."""
    rest = [label for label in FASHION.labels if label not in ("resnet20", "aw_resnet20")] if others else []
    values = [93.0, 93.05, 92.95]
    return as_records(
        runs_of(FASHION, "resnet20", plain),
        runs_of(FASHION, "aw_resnet20", aw),
        *(runs_of(FASHION, label, values) for label in rest),
    )


def of_fashion(records):
    return next(judged for judged in own_questions(records) if judged.study.name == "fashion-mnist")


def sentence(records):
    return answer_sentence(of_fashion(records).comparisons[0])


PLAIN = [93.0, 93.05, 92.95]
MORE = [93.0, 93.05, 92.95, 93.0, 93.02, 92.98, 93.0, 93.01, 92.99, 93.0]


@pytest.mark.parametrize(
    ("plain", "aw", "says"),
    [
        ([], [], "is not known yet: the first look is at 3 runs of each, and none is there."),
        (PLAIN, [94.0, 94.05, 93.95], "On Fashion-MNIST, AW-ResNet-20 is better than ResNet-20: +1.00 (+0."),
        (PLAIN, [92.0, 92.05, 91.95], "On Fashion-MNIST, AW-ResNet-20 is worse than ResNet-20: -1.00 (-1."),
        (MORE, [value + 0.01 for value in MORE], "is equivalent to ResNet-20 within 0.2 points, the margin"),
        ([92.5, 93.0, 93.5], [93.5, 92.5, 93.3], "undecided whether AW-ResNet-20 is better than ResNet-20: +0.10"),
    ],
)  # fmt: skip
def test_one_sentence_answers(plain, aw, says):
    assert says in sentence(runs(plain, aw))


def choices(**values):
    """Made-up accuracies of the default, `default`, and of networks of the choices' study."""
    study, default = load_study("fashion-mnist-choices"), values.pop("default")
    made = [runs_of(study, label.replace("_", "-"), measured) for label, measured in values.items()]
    return judge_study(study, as_records(runs_of(study, "aw_resnet20", default), *made))


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"default": PLAIN}, ""),
        (
            {"default": PLAIN, "tanh": [91.0, 92.0, 92.94], "r4": [93.0, 93.1, 93.2], "no_residual": [90, 92, 92.95]},
            "On Fashion-MNIST, none of 3 comparisons is decided: the narrowest interval is +-2.",
        ),
        (
            {"default": PLAIN, "tanh": [91.0, 91.0, 91.1], "r4": [93.06, 93.1, 93.2]},
            "On Fashion-MNIST, 1 of 2 comparisons is decided: the narrowest interval is +-0.",
        ),
    ],
)  # fmt: skip
def test_what_an_exploratory_study_shows_is_said_together(values, says):
    found = exploratory_summary(choices(**values))
    assert found.startswith(says) and bool(found) == bool(says)
    below, above = (
        "AW-ResNet-20 with gate=tanh are below all of AW",
        "AW-ResNet-20 with reduction=4 are above all of AW",
    )
    assert (below in found, above in found) == ("tanh" in values, "r4" in values and "no_residual" not in values)
    assert "residual" not in found.replace("no_residual", "")  # 92.95 is not below the lowest


def test_the_page_begins_with_what_an_exploratory_study_shows_together():
    """Of one comparison alone with its answer."""
    study = load_study("fashion-mnist-choices")
    made = as_records(*(runs_of(study, label, [93.0, 93.1, 93.2]) for label in study.labels[:3]))
    first = answer(made, [])[0]
    assert first == exploratory_summary(judge_study(study, made)) and first.startswith("On Fashion-MNIST, none of 2")
    judged = judge_study(study, made)
    assert study_sentence(replace(judged, comparisons=judged.comparisons[:1])).startswith(
        "On Fashion-MNIST, it is undecided whether AW-"
    )


@pytest.mark.parametrize(
    ("plain", "said"),
    [
        ([93.0, 93.05, 92.95, 92.5, 93.5], ["the first 3 of resnet20 gave 0.05, all 5 give 0.36."]),
        ([93.0, 93.0, 93.0, 92.5], []),  # of no deviation at all there is no ratio
        (PLAIN, []),
    ],
)
def test_what_the_first_look_told_of_the_deviation_is_said(plain, said):
    notes = [note for note in studies_table(runs(plain, PLAIN), load_references()).footnotes if "unreliable" in note]
    assert [note.partition(": ")[2] for note in notes] == said


def test_the_cost_is_of_all_processes_by_what_they_trained_on():
    def hour(seed, hours=1.0, **environment):
        values = {"train_time": Quantity(value=3600 * hours, unit="s")}
        return study_run(FASHION, "resnet20", seed, 93.0, values=values, environment=environment)

    on_gpus = [hour(0, world_size=8), hour(1, 0.5, world_size=2)]
    assert (
        shown_cost(of_fashion(as_records(on_gpus))) == "2 runs, 9.0 GPU-hours of training, 1.0 to 8.0 a run, wall time"
    )
    on_cpu = {"training_device": "cpu", "world_size": 1}
    both = of_fashion(
        as_records([hour(0, 2000, **on_cpu)], runs_of(FASHION, "aw_resnet20", [93.0], environment=on_cpu))
    )
    assert shown_cost(both) == "2 runs, 2,000.0 process-hours of training, wall time"
    assert study_object(both)["training_hours"] == {"process-hours": 2000.0}
    for odd in (0, -1, True, "8", 10**400):
        assert shown_cost(of_fashion(as_records([hour(0, world_size=odd)]))) == "1 run"


def test_an_undecided_sentence_says_what_comes_next():
    assert sentence(runs([92.5, 93.0, 93.5], [93.5, 92.5, 93.3])).endswith("; the next look is at 4 runs of each.")
    last = [92.5, 93.0, 93.5] * 3 + [93.0]
    assert sentence(runs(last, last[::-1])).endswith("look 8 of 8, 10 runs each; no look is left.")


def test_the_table_has_every_network_with_accuracy_gain_and_cost(tmp_path):
    store = RecordStore(tmp_path)
    for name in ("resnet20", "aw_resnet20"):
        record_complexity(store, parse_variant(name), ModelOptions(), image_size=28)
        record_complexity(store, parse_variant(name), ModelOptions(), image_size=32)
    records = as_records(store.read().of_kind("complexity"), runs(PLAIN, [94.0, 94.05, 93.95]).of_kind("accuracy"))
    table = studies_table(records, load_references())
    rows = {row["network"]: row for row in table.objects if row["study"] == "fashion-mnist"}
    assert tuple(rows) == FASHION.labels
    assert rows["aw_resnet20"]["values"] == [94.0, 94.05, 93.95] and rows["aw_resnet20"]["runs"] == 3
    assert rows["aw_resnet20"]["comparison"]["gain"] == "gain" and rows["resnet20"]["comparison"] is None
    assert rows["resnet20"]["params"] == 269_722
    at_28 = record_complexity(store, parse_variant("resnet20"), ModelOptions(), image_size=28)[0]
    assert rows["resnet20"]["macs"] == at_28.value("macs")
    assert rows["se_resnet20"]["params"] is None, "nobody counted it"
    assert "+1.00" in next(cells for cells in table.rows if cells[2] == "aw_resnet20")[6]


def test_networks_of_other_options_have_their_own_counts_and_a_label(tmp_path):
    study, store = load_study("fashion-mnist-choices"), RecordStore(tmp_path)
    count_study(store, study)
    records = as_records(store.read().of_kind("complexity"), runs_of(study, "e1", [94.0, 94.1, 94.2]))
    table = studies_table(records, load_references())
    rows = {row["network"]: row for row in table.objects if row["study"] == study.name}
    assert tuple(rows) == study.labels and {row["purpose"] for row in rows.values()} == {"exploratory"}
    assert [cells[1] for cells in table.rows].count("exploratory") == 8
    for label, network in study.networks.items():
        built = awbench.build("aw_resnet20", aw_options=dict(network.aw))
        assert rows[label]["params"] == sum(parameter.numel() for parameter in built.parameters())
    assert rows["e1"]["params"] > rows["e16"]["params"] > rows["aw_resnet20"]["params"]
    assert rows["e1"]["values"] == [94.0, 94.1, 94.2] and rows["tanh"]["runs"] == 0


def test_a_study_of_ones_own_stands_beside_the_projects(tmp_path):
    text = (STUDIES / "fashion-mnist.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(text.replace("name: fashion-mnist", "name: mine\nshares: fashion-mnist"))
    found = []
    for files in ([], [str(tmp_path / "mine.yaml")], []):
        with beside(files):
            found.append([row["study"] for row in studies_table(runs(PLAIN, PLAIN), load_references()).objects])
    assert found[1] == [*found[0], *(["mine"] * 8)] and found[2] == found[0]


def test_a_network_that_is_compared_twice_has_two_rows_each_with_its_runs(tmp_path):
    """The gain that the study is about was in no table: the later one stood in its place."""
    compared = [{"variant": "aw_se_resnet20", "over": over} for over in ("se_resnet20", "resnet20")]
    path = write_study(
        tmp_path, comparisons=compared, looks=[3], recipe="fashion-mnist", dataset="fashion-mnist", changes=None
    )
    study = load_study(path)
    made = zip(study.labels, ([94.0, 94.1, 94.2], [93.0, 93.1, 93.2], [92.0, 92.1, 92.2]), strict=True)
    values = {"aw_se_resnet20": [94.0, 94.1, 94.2], "se_resnet20": [93.0, 93.1, 93.2], "resnet20": [92.0, 92.1, 92.2]}
    with beside([path]):
        records = as_records(*(runs_of(study, label, values[label]) for label, _ in made))
        table = select(
            studies_table(records, load_references()), where=[("study", "tiny"), ("network", "aw_se_resnet20")]
        )
        places = [table.columns.index(name) for name in ("over", "runs", "gain (interval)")]
        shown = [[row[place].partition(" ")[0] for place in places] for row in table.rows]
    assert shown == [["se_resnet20", "3", "+1.00"], ["resnet20", "3", "+2.00"]]


def test_single_runs_of_each_are_said_not_to_tell(tmp_path):
    study = load_study(write_study(tmp_path))
    judged = judge_study(study, as_records(*(runs_of(study, label, [95.0]) for label in study.labels)))
    assert answer_sentence(judged.comparisons[0]).endswith(
        "is not known: 1 run of each does not tell how far runs lie apart."
    )


def test_the_figure_shows_what_was_measured_and_nothing_else():
    assert study_figures(Records()) == []
    (figure,) = study_figures(runs(PLAIN, [94.0, 94.05, 93.95], others=False))
    assert figure.name == "study-fashion-mnist"
    assert len(figure.data) == 1 and "AW-ResNet-20 is better than ResNet-20" in next(iter(figure.data.values()))


def test_latency_is_of_the_networks_as_they_were_trained_and_of_one_run():
    """Another size, other options, an older run and fewer images a call say nothing beside the newest of the most."""
    setting = {"image_size": 28, "over": "resnet20"}
    plain, aw = (latency_record(name, (r, r, r), **setting) for name, r in (("resnet20", 1.0), ("aw_resnet20", 1.5)))
    changed = latency_record("aw_resnet20", (9.0, 9.0, 9.0), **setting)
    changed.options["aw"]["expansion"] = 1
    older = latency_record("se_resnet20", (1.2, 1.2, 1.2), "2026-01-01T00:00:00.000000Z", **setting)
    older.environment["run"] = "an older one"
    larger = latency_record("aw_resnet20", (7.0, 7.0, 7.0), over="resnet20")

    def ratios(*records):
        rows = studies_table(as_records(list(records)), load_references()).objects
        return {row["network"]: row["ratio_to_plain"] for row in rows if row["study"] == "fashion-mnist"}

    found = ratios(older, plain, aw, changed, larger)
    assert (found["resnet20"], found["aw_resnet20"], found["se_resnet20"]) == (1.0, 1.5, None)
    assert set(ratios(changed, larger).values()) == {None}
    later = "2026-01-02T00:00:00.000000Z"
    batch = latency_record("aw_resnet20", (1.3, 1.3, 1.3), "2026-01-01T12:00:00.000000Z", batch_size=128, **setting)
    single = latency_record("aw_resnet20", (2.2, 2.2, 2.2), later, **setting)
    assert ratios(plain, aw, batch, single)["aw_resnet20"] == 1.3
    table = studies_table(as_records([plain, aw, batch, single]), load_references())
    row = next(row for row in table.objects if (row["study"], row["network"]) == ("fashion-mnist", "aw_resnet20"))
    assert row["ratio_to_plain_of_one"] == 2.2
    assert sum(note.startswith("One image: the same, of one image a call: ") for note in table.footnotes) == 1
    cells = next(cells for cells in table.rows if cells[2] == "aw_resnet20")
    assert "1.30 (1.30 to 1.30)" in cells and "2.20 (2.20 to 2.20)" in cells
    alone = latency_record("aw_resnet20", (8.0, 8.0, 8.0), later, **setting)
    alone.environment["run"] = "of one network"
    assert ratios(plain, aw, alone)["aw_resnet20"] == 1.5


def test_latency_is_of_networks_with_other_plain_networks_too(tmp_path):
    text = (STUDIES / "fashion-mnist.yaml").read_text().replace("name: fashion-mnist", "name: mine")
    (tmp_path / "mine.yaml").write_text(text.replace("eca_resnet20", "eca_resnet32"))
    records = [
        latency_record(name, (r, r, r), image_size=28, over=over)
        for name, r, over in (("aw_resnet20", 1.5, "resnet20"), ("aw_eca_resnet32", 1.7, "resnet32"))
    ]
    with beside([str(tmp_path / "mine.yaml")]):
        rows = studies_table(as_records(records), load_references()).objects
    found = {row["network"]: row["ratio_to_plain"] for row in rows if row["study"] == "mine"}
    assert (found["aw_resnet20"], found["aw_eca_resnet32"]) == (1.5, 1.7)


def test_a_network_with_options_has_the_latency_of_a_network_with_these():
    study = load_study("fashion-mnist-choices")
    setting = {"image_size": 28, "over": "resnet20"}
    records = [latency_record("aw_resnet20", (r, r, r), **setting) for r in (1.5, 2.5)]
    records[1].options.update(study.described_options["e1"])
    rows = studies_table(as_records(records), load_references()).objects
    found = {row["network"]: row["ratio_to_plain"] for row in rows if row["study"] == study.name}
    assert (found["aw_resnet20"], found["e1"], found["e16"]) == (1.5, 2.5, None)
    missing = "Latency ratio of some networks: not measured: needs 'awbench latency --study fashion-mnist-choices'."
    assert missing in studies_table(as_records(records), load_references()).footnotes
