"""`awbench import`: runs that were trained elsewhere, read, marked and judged among themselves."""

from __future__ import annotations

import json

import pytest

from awbench.records import Records
from awbench.verdicts.interval import gain_interval

HEAD = "variant,network,dataset,recipe,seed,metric,value,unit,images,source\n"
ROW = "resnet50,,imagenet,a1,0,top1,76.3,percent,50000,somebody\n"


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "runs.csv") -> str:
        (tmp_path / name).write_text(text)
        return name

    return write


def imported(tmp_path) -> list[tuple]:
    records = Records.read(tmp_path / "results").of_kind("imported")
    return [
        (r.variant, r.settings.json_object["seed"], metric, r.value(metric))
        for r in records
        for metric in (r.settings.json_object["metric"],)
    ]


def table(awbench, *words) -> list[dict]:
    return json.loads(awbench("table", "imported", "--json", *words)[1])


def test_the_example_file_is_complete_and_judged(awbench, root, tmp_path):
    code, _, err = awbench("import", root / "examples" / "runs.csv")
    assert code == 0 and "7 numbers imported" in err
    plain, aw, other = table(awbench)
    expected = gain_interval([77.10, 77.31, 77.18], [76.30, 76.42, 76.25], [[76.90]])
    assert aw["over"] == "resnet50" and aw["interval"] == pytest.approx([expected.low, expected.high])
    assert (aw["answer"], plain["answer"], other["network"]) == ("gain", "", "their-own-net")
    record = Records.read(tmp_path / "results").of_kind("imported")[0]
    assert record.notes == ["imported: trained elsewhere (made up: shows the form), as stated there"]
    assert record.value("images") == 50_000
    assert "7 found" in awbench("import", root / "examples" / "runs.csv")[2]


@pytest.mark.parametrize(
    ("metric", "unit", "images"),
    [("top1", "percent", "50000"), ("top1", "percent", ""), ("box_ap", "AP points", "5000")],
)
def test_equal_runs_are_no_gain_that_is_known_exactly(awbench, write, metric, unit, images):
    """They deviate by an image at least; by a hundredth of a point where nobody says of how many, and of an AP."""
    names, step = (
        (
            ("faster_rcnn_resnet50_fpn", "faster_rcnn_aw_resnet50_fpn")
            if metric == "box_ap"
            else ("resnet50", "aw_resnet50")
        ),
        0.002 if images == "50000" else 0.01,
    )
    rows = [
        f"{name},,x,a1,{seed},{metric},{40 + step * (name != names[0])},{unit},{images},one\n"
        for name in names
        for seed in (0, 1)
    ]
    assert awbench("import", write(HEAD + "".join(rows)))[0] == 0
    found = table(awbench)[1]
    expected = gain_interval([40 + step] * 2, [40] * 2, resolution=step)
    assert found["answer"] == "undecided" and found["interval"] == pytest.approx([expected.low, expected.high])


def test_runs_of_two_sources_recipes_or_datasets_are_not_compared(awbench, write):
    rows = [
        f"{name},,{dataset},{recipe},{seed},top1,{value},percent,,{source}\n"
        for seed in (0, 1)
        for name, dataset, recipe, source, value in (
            ("resnet50", "imagenet", "a1", "one", 76),
            ("aw_resnet50", "imagenet", "a1", "two", 77),
            ("se_resnet50", "imagenet", "a2", "one", 77),
            ("eca_resnet50", "cifar10", "a1", "one", 77),
        )
    ]
    awbench("import", write(HEAD + "".join(rows)))
    assert [row["over"] for row in table(awbench)] == [""] * 4


def test_imported_runs_are_evidence_for_nothing_of_ours(awbench, root):
    before = [awbench("table", kind, "--json")[1] for kind in ("claims", "accuracy", "runs", "studies")]
    awbench("import", root / "examples" / "runs.csv")
    assert [awbench("table", kind, "--json")[1] for kind in ("claims", "accuracy", "runs", "studies")] == before


GIVEN = ("--variant", "resnet50", "--dataset", "imagenet", "--recipe", "r", "--seed", "3", "--source", "s")
BOX = ("--variant", "faster_rcnn_resnet50_fpn", "--dataset", "coco", "--recipe", "1x", "--seed", "0", "--source", "s")
STATS = [0.402, 0.61, 0.438, 0.242, 0.435, 0.521, 0.33, 0.5, 0.5, 0.3, 0.5, 0.6]
PRINTED = """Accumulating evaluation results...
 Average Precision  (AP) @[ IoU=0.50:0.95 | area=   all | maxDets=100 ] = 0.402
 Average Precision  (AP) @[ IoU=0.50      | area=   all | maxDets=100 ] = 0.610
 Average Precision  (AP) @[ IoU=0.50:0.95 | area= small | maxDets=100 ] = -1.000
 Average Recall     (AR) @[ IoU=0.50:0.95 | area=   all | maxDets=  1 ] = 0.330
"""
FORMS = {
    "timm": ("epoch,train_loss,eval_top1,eval_top5\n0,6.9,10.0,20.0\n1,2.0,76.1,93.0\n", GIVEN,
             {"top1": 76.1, "top5": 93.0}),
    "old Mac's lines, spaces": ((HEAD.replace(",", ", ") + ROW).replace("\n", "\r"), (), {"top1": 76.3}),
    "an object a line": ('{"network": "n", "recipe": "r", "seed": 0, "value": 76.3, "metric": "top1"}\n'
                         + '{"network": "n", "recipe": "r", "seed": 0, "value": 80, "metric": "top5"}\n',
                         ("--dataset", "d", "--source", "s"), {"top1": 76.3, "top5": 80}),
    "detectron2 metrics of one line": ('{"iteration": 1, "bbox/AP": 40.2}', BOX, {"box_ap": 40.2}),
    "low AP": (json.dumps({"bbox": {"AP": 0.4, "AP50": 1.6}}), BOX, {"box_ap": 0.4, "ap50": 1.6}),
    "json": (json.dumps([{"network": "n1", "dataset": "d", "recipe": "r", "seed": 0, "metric": "top1", "value": 76.3,
                          "source": "s"}]), (), {"top1": 76.3}),
    "detectron2 metrics": ('{"iteration": 1, "bbox/AP": 1.0}\n{"iteration": 9, "bbox/AP": 40.2, "bbox/APl": "nan"}\n'
                           '{"iteration": 10, "total_loss": 0.5}\n', BOX, {"box_ap": 40.2}),
    "detectron2 results": (json.dumps({"bbox": {"AP": 40.2, "AP50": 61.0, "APs": 24.2}}), BOX,
                           {"box_ap": 40.2, "ap50": 61.0, "ap_small": 24.2}),
    "pycocotools stats": (json.dumps(STATS), BOX, {"box_ap": 40.2, "ap50": 61.0, "ap75": 43.8, "ap_small": 24.2,
                                                   "ap_medium": 43.5, "ap_large": 52.1}),
    "pycocotools printed": (PRINTED, BOX, {"box_ap": 40.2, "ap50": 61.0}),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_what_other_tools_write_is_read(awbench, write, tmp_path, form):
    text, given, expected = FORMS[form]
    code, _, err = awbench("import", write(text, "file"), *given)
    assert code == 0, err
    assert {metric: value for _, _, metric, value in imported(tmp_path)} == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + ROW.replace("percent", "fraction"), "line 2: unit of top1 is 'fraction'; it must be percent"),
        (HEAD + ROW + ROW, "line 3: seed 0 of resnet50 (top1) stands in line 2 already"),
        (HEAD + ROW.replace("resnet50", "resnet51"), "resnet51 is not a variant; did you mean resnet50?"),
        (HEAD + ROW.replace("resnet50,,", "resnet50,x,"), "give one of variant"),
        (HEAD + ROW.replace("76.3", "0.763"), "looks like a fraction; give it in percent"),
        (HEAD + ROW.replace("76.3", "176.3"), "'176.3' of top1 is not a number between 0 and 100, in percent"),
        (HEAD + ROW.replace("76.3", "nan"), "'nan' of top1 is not a number between"),
        (HEAD + ROW.replace("top1", "top11"), "metric 'top11' is not known; did you mean top1?"),
        (HEAD + ROW.replace(",0,", ",-1,"), "seed '-1' is not a whole number"),
        (HEAD + ROW.replace("somebody", ""), "it has no source; add it, or give it for all rows, e.g. --source"),
        (HEAD.replace("recipe", "recpe") + ROW, "column 'recpe' is not known; did you mean recipe?"),
        (HEAD + "resnet50,,imagenet\n", "line 2: it has 3 cells, the header has 10"),
        (HEAD, "holds no runs"),
        ("", "runs.csv is empty; its first line names the columns"),
        ("\n\n", "runs.csv is empty"),
        ((HEAD + ROW).replace(",", ";"), "separate columns by commas, not by ';'"),
        (HEAD + ROW.replace("76.3", "76.3%"), "'76.3%' of top1 is not a number between"),
        (HEAD + ROW.replace("76.3", "7_6.3"), "'7_6.3' of top1 is not a number between"),
        (HEAD + ROW.replace("50000", "0"), "images '0' is not a whole number from 1"),
        (HEAD + ROW.replace("somebody", "\x1b[31m"), "source '\\x1b[31m'... must be printable"),
        (HEAD + ROW.replace("somebody", "x" * 301), "of at most 300 characters"),
        (HEAD.replace("unit", "value") + ROW.replace("percent", "55"), "has 2 columns 'value'"),
        ('[{"seed": 0, "value": 76.3, "value": 12}]', "an object has 'value' 2 times"),
        ('{"seed": 0, "value": 1}\n{"value": 1, "value": 2}\n', "line 2: an object has 'value' 2 times"),
        (HEAD + ROW.replace("top1", "box_ap"), "box_ap is of detection networks, resnet50 is of classification"),
        (HEAD + ROW.replace("imagenet", "coco"), "top1 is of classification, dataset coco is of detection"),
        (HEAD + ROW + ROW.replace("top1,76.3", "top5,70"), "line 3: top5 of seed 0 of resnet50 is 70, below its top1"),
        ("[" + ", ".join(["true"] * 12) + "]", "is no list of runs"),
        ("{", "is not JSON"),
        ('{"a": 1}', "is no list of runs"),
        ('[{"netwrk": "x"}]', "'netwrk' is not known; did you mean network?"),
    ],
)
def test_faults_are_one_line_and_nothing_is_imported(awbench, write, tmp_path, text, message):
    code, out, err = awbench("import", write(text))
    assert (code, out, err.count("\n")) == (2, "", 1) and message in err, err
    assert imported(tmp_path) == []


TIMM = "epoch,eval_top1,eval_top5\n"


@pytest.mark.parametrize(
    ("text", "given", "message"),
    [
        (json.dumps(STATS), BOX[2:], "COCOeval.stats: give one of variant"),
        (json.dumps([100 * value for value in STATS]), BOX, "COCOeval.stats: they must be fractions"),
        (PRINTED + PRINTED, BOX, "has box_ap 2 times, as of boxes and masks"),
        ('{"iteration": 1, "total_loss": 1.0}\n{"total_loss": 1.0}\n', BOX, "has no evaluation of boxes (bbox/AP)"),
        (json.dumps({"bbox": {"AP": 0.4, "AP50": 0.6}}), BOX, "looks like a fraction"),
        (json.dumps({"bbox": {"AP": 40.2}}), GIVEN, "box_ap is of detection networks, resnet50 is of classification"),
        (TIMM + "1,76.1,93.0\n0,10.0,20.0\n", GIVEN, "epochs are not in order"),
        (TIMM + "1,76.1,93.0\n" + TIMM + "0,10.0,20.0\n", GIVEN, "epochs are not in order"),
        (TIMM + "0,76.1,93.0\n1,,94.0\n", GIVEN, "line 3: eval_top1 of the last epoch is '', not a number"),
        (TIMM + "0,76.1,93.0\n1,7\n", GIVEN, "line 3: it has 2 cells, the header has 3"),
        (TIMM.replace("top5", "top1") + "0,76.1,12.0\n", GIVEN, "has 2 columns 'eval_top1'"),
    ],
)
def test_faults_of_what_other_tools_write_are_one_line(awbench, write, tmp_path, text, given, message):
    code, out, err = awbench("import", write(text), *given)
    assert (code, out, err.count("\n")) == (2, "", 1) and message in err, err
    assert imported(tmp_path) == []


def test_all_faults_of_a_file_are_said_at_once(awbench, write):
    rows = ROW.replace("percent", "points") + ROW.replace("resnet50", "resnet51") + ROW.replace("top1", "f1")
    err = awbench("import", write(HEAD + rows))[2]
    assert all(f"line {number}: " in err for number in (2, 3, 4))


def test_the_same_fault_of_several_rows_is_one(awbench, write):
    wrong = ROW.replace("percent", "points")
    rows = [wrong.replace(",0,", f",{seed},") for seed in range(4)] + [ROW] + [wrong.replace(",0,", ",9,")] + [ROW] * 2
    err = awbench("import", write(HEAD + "".join(rows)))[2]
    assert "lines 2 to 5 and 7: unit of top1 is 'points'" in err and err.count("points") == 1
    assert "lines 8 to 9: seed 0 of resnet50 (top1) stands in line 6 already" in err


def test_percent_may_be_its_sign(awbench, write, tmp_path):
    assert awbench("import", write(HEAD + ROW.replace("percent", "%")))[0] == 0
    (record,) = Records.read(tmp_path / "results").of_kind("imported")
    assert record.values["top1"].unit == "percent"


def test_the_sample_of_the_help_is_read_and_compared(awbench, write, tmp_path):
    shown = awbench("import", "--help")[1]
    lines = shown[shown.index("  variant,dataset,") :].split("\n\n")[0]
    assert awbench("import", write("\n".join(line.strip() for line in lines.splitlines())))[0] == 0
    assert [row["answer"] for row in table(awbench)][-1] in ("gain", "undecided")
    for word in ("required: dataset, recipe, seed, metric, value, source", "ap50", "AP points", "percent or %"):
        assert word in shown


def test_what_is_compared_with_nothing_says_why(awbench, write):
    rows = [ROW, ROW.replace("resnet50,,", ",aw_resnet50,"), ROW.replace("resnet50,,", ",ours,"),
            ROW.replace("resnet50,,", "aw_resnet18,,")]  # fmt: skip
    out = awbench("import", write(HEAD + "".join(rows)))[1]
    for why in (
        "Not compared: aw_resnet50 was given as network, as if it were another one of that name",
        "Not compared: ours was given as network: ",
        "Not compared: aw_resnet18: no runs of resnet18 of the same source",
    ):
        assert why in out
    answers = {row["network"]: row["answer"] for row in table(awbench)}
    assert answers.pop("resnet50") == "" and set(answers.values()) == {"not compared"}
    assert "count in a study only where its file names their source" in out


def test_another_value_of_the_same_run_is_an_error(awbench, write, tmp_path):
    awbench("import", write(HEAD + ROW))
    code, _, err = awbench("import", write(HEAD + ROW.replace("76.3", "77.0")))
    assert code == 2 and "was imported before with 76.3, here it is 77" in err
    assert len(imported(tmp_path)) == 1


@pytest.mark.parametrize("name", ["nowhere.csv", "."])
def test_a_file_that_is_none_is_named(awbench, name):
    code, _, err = awbench("import", name)
    assert code == 2 and f"{name} is not a file" in err


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": 1}\n' + "[" * 100_000])
def test_json_nested_deep_is_an_error_of_one_line(awbench, write, text):
    code, out, err = awbench("import", write(text, "deep.json"))
    assert (code, out, err.count("\n")) == (2, "", 1) and "deep.json is not JSON" in err


def test_a_variant_is_compared_with_variants_alone_and_not_with_a_network_of_that_name(awbench, write):
    head = "dataset,recipe,recipe_sha256,metric,unit,images,source,{},seed,value\n"
    row = "imagenet,r,0123456789abcdef,top1,percent,50000,made up,{},{},{}.{}\n"
    for form, name, value in (("variant", "aw_resnet50", 78), ("network", "resnet50", 70), ("variant", "resnet50", 77)):
        rows = "".join(row.format(name, seed, value, seed) for seed in range(3))
        assert awbench("import", write(head.format(form) + rows))[0] == 0
    found = {(row["network"], round(row["mean"])): row for row in table(awbench)}
    aw, network, plain = (found[key] for key in (("aw_resnet50", 78), ("resnet50", 70), ("resnet50", 77)))
    assert (aw["over"], network["answer"], plain["answer"]) == ("resnet50", "not compared", "")
    assert aw["interval"][0] < 1 < aw["interval"][1]
