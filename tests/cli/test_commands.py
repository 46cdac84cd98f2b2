from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from awbench.cli.main import COMMANDS
from awbench.variants import list_variants


def test_list_prints_a_name_a_line(awbench):
    code, out, err = awbench("list", "--task", "classification")
    assert (code, err) == (0, "")
    assert out.split() == [variant.name for variant in list_variants("classification")]


def test_list_with_counts_needs_no_counting_and_names_what_has_none(awbench, tmp_path):
    rows = json.loads(awbench("list", "aw_resnet50", "resnet50", "--counts", "--json")[1])
    assert [(row["variant"], row["params"], row["macs"]) for row in rows] == [
        ("aw_resnet50", 25_722_240, 4_090_598_912), ("resnet50", 25_557_032, 4_089_184_256),
    ]  # fmt: skip
    code, out, err = awbench("list", "*resnet50*", "--counts")
    assert code == 0 and "| aw_se_resnet50 " in out and "25,722,240" in out and err == ""
    assert not any(tmp_path.iterdir())


def test_list_as_json(awbench):
    rows = json.loads(awbench("list", "--json")[1])
    assert {"variant", "task", "depth", "attention", "aw"} <= set(rows[0])
    assert {row["task"] for row in rows} == {"classification", "detection"}


def test_complexity_as_json_is_alone_on_stdout(awbench):
    code, out, _ = awbench("complexity", "aw_resnet50", "resnet50", "--stride-placement", "v1", "--json")
    assert code == 0
    aw, plain = json.loads(out)
    assert aw == {
        "variant": "aw_resnet50",
        "stride_placement": "v1",
        "image_size": 224,
        "params": 25_722_240,
        "macs": plain["macs"] + 1_414_656,
        "macs_by_counter": {"torch": aw["macs"]},
        "aw_kernel_forming": 11_317_248,
        "attention_scaling": 0,
        "activations": aw["activations"],
        "options": aw["options"],
    }


def test_complexity_is_found_not_repeated_unless_forced(awbench, tmp_path):
    words = ("complexity", "resnet20", "--cross-check", "--json")
    first, second, forced = awbench(*words), awbench(*words), awbench(*words, "--force")
    assert [run[2].splitlines()[-1] for run in (first, second, forced)] == [
        "1 counted, 0 found in results",
        "0 counted, 1 found in results",
        "1 counted, 0 found in results",
    ]
    assert first[1] == second[1] == forced[1]
    assert len(list((tmp_path / "results/records/complexity").iterdir())) == 2
    assert set(json.loads(first[1])[0]["macs_by_counter"]) == {"torch", "fvcore"}


def test_what_points_to_a_document_says_where_that_is(root):
    """A wheel has no docs/."""
    texts = [
        (path.name, node.value)
        for path in (root / "awbench").rglob("*.py")
        for tree in [ast.parse(path.read_text())]
        for expression in ast.walk(tree)
        if not isinstance(expression, ast.Expr)  # a docstring
        for node in ast.iter_child_nodes(expression)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    pointing = [(name, text) for name, text in texts if re.search(r"docs/[\w-]+\.md(?! in the source)", text)]
    assert {name for name, _ in pointing} == {"readme.py"}, pointing  # which writes them
    assert sum("in the source" in text for _, text in texts) > 4


def test_the_columns_of_a_table_are_listed(awbench):
    code, out, _ = awbench("table", "grid", "--columns", "help")
    assert (code, out.splitlines()[:3]) == (0, ["variant", "image size", "params"])


def test_a_cross_check_says_what_it_found(awbench):
    said = "aw_resnet20: fvcore and torch agree, layer by layer: "
    assert "layer by layer" not in awbench("complexity", "aw_resnet20")[1]
    (macs,) = (row["macs"] for row in json.loads(awbench("complexity", "aw_resnet20", "--json")[1]))
    assert f"- {said}{macs:,} MACs." in awbench("complexity", "aw_resnet20", "--cross-check")[1]


def test_options_change_the_count(awbench):
    def params(*options: str) -> int:
        return json.loads(awbench("complexity", "aw_se_resnet18", "--json", *options)[1])[0]["params"]

    assert len({params(), params("--aw-option", "reduction=8"), params("--attention-option", "reduction=8")}) == 3
    assert params() - params("--num-classes", "10") == 990 * 513


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("complexity", "resnet51"), "resnet51 is not a variant; did you mean resnet50?"),
        (("complexity", "faster_rcnn_resnet50_fpn", "--engine", "tv"), "engine 'tv' is not known"),
        (("complexity", "faster_rcnn_resnet50_fpn", "--engine", "torchvision", "--image-size", "801"), "use e.g. 800"),
        (("complexity", "faster_rcnn_resnet50_fpn", "--engine", "torchvision", "--proposals", "0"), "0 proposals make"),
        (("complexity", "resnet50", "--engine", "torchvision"), "concern no variant named: none is a detector"),
        (("complexity", "resnet50", "--image-size", "800x1088"), "resnet50 is counted on square images"),
        (("complexity", "resnet50", "--image-size", "0"), "image size 0 is too small for resnet50"),
        (("complexity", "resnet50", "--image-size", "16"), "use 32 or more"),
        (("complexity", "resnet50", "--image-size", "big"), "--image-size 'big' is not a size"),
        (("complexity", "aw_resnet50", "--aw-option", "reduction=0"), "r must be at least 1"),
        (("complexity", "se_resnet50", "--attention-option", "reduction=0"), "r must be at least 1"),
        (("complexity", "aw_resnet50", "--aw-option", "expansion=3"), "expansion is 3, which does not divide"),
        (("complexity", "aw_resnet50", "--aw-option", "expansion"), "'expansion' is not of the form KEY=VALUE"),
        (("complexity", "aw_resnet50", "--aw-option", "expand=3"), "did you mean expansion?"),
        (("complexity", "se_resnet18", "--attention-option", "reduction=abc"), "must be a whole number"),
        (("complexity", "se_resnet18", "--attention-option", "reduction=inf"), "must be a whole number"),
        (("complexity", "eca_resnet18", "--attention-option", "kernel_size=3.5"), "must be a whole number"),
        (("complexity", "eca_resnet18", "--attention-option", "kernel_size=99999999999999999999"), "whole number"),
        (("complexity", "resnet18", "--num-classes", "99999999999999999999999"), "at most 10^7"),
        (("complexity", "resnet18", "--image-size", "99999999999999999999999"), "is too large; use 8192 or less"),
        (("complexity", "aw_resnet18", "--attention-option", "reduction=8"), "concerns no variant named"),
        (("complexity", "resnet18", "--aw-option", "reduction=8"), "concerns no variant named"),
        (("complexity", "aw_resnet20", "--aw-option", "stages=4"), "would have no AW-convolution"),
        (("complexity", "aw\nresnet20"), "aw resnet20 is not a variant"),
        (("table", "grid", "--json", "--format", "csv"), "not allowed with argument"),
        (("complexity", "resnet50", "--stride-placement", "v2"), "use v1 or v1.5"),
        (("complexity", "resnet50", "--results", "a_file"), "results folder a_file is a file"),
        (("table", "complexty"), "invalid choice: 'complexty'"),
        (("table", "complexity", "--format", "word"), "invalid choice: 'word'"),
        (("table", "complexity", "--columns", "variant,macs"), "column 'macs' does not exist"),
        (("table", "claims", "--sort", "verdct"), "did you mean verdict?"),
        (("table", "complexity", "--references", "nowhere"), "no reference files in nowhere"),
        (("reproduce", "--references", "nowhere"), "no reference files in nowhere"),
        (("list", "--task", "segmentation"), "invalid choice: 'segmentation'"),
        ((), "the following arguments are required: COMMAND"),
        (("lst",), "invalid choice: 'lst'"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(words, message, awbench, tmp_path):
    (tmp_path / "a_file").write_text("")
    code, out, err = awbench(*words)
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err


@pytest.mark.parametrize("damage", [lambda text: text[:100], lambda text: text.replace("11689512", "11689513")])
@pytest.mark.parametrize("words", [("complexity", "resnet18"), ("table", "complexity"), ("table", "grid")])
def test_a_broken_record_stops_with_its_name_and_nothing_is_lost(damage, words, awbench, tmp_path):
    awbench("complexity", "resnet18", "resnet20")
    folder = tmp_path / "results/records/complexity"
    (path,) = folder.glob("resnet18-*.json")
    path.write_text(damage(path.read_text()))
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    code, out, err = awbench(*words)
    assert (code, out) == (2, "")
    assert path.name in err.splitlines()[-1]
    assert "Traceback" not in err
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


def test_a_reference_file_with_a_misspelt_key(awbench, tmp_path, root):
    text = (root / "reference_results/torchvision.yaml").read_text()
    (tmp_path / "refs").mkdir()
    (tmp_path / "refs/torchvision.yaml").write_text(text.replace("value: 69.758", "valu: 69.758"))
    code, out, err = awbench("table", "accuracy", "--references", "refs")
    assert (code, out) == (2, "")
    assert "refs/torchvision.yaml: numbers[0]: unknown key 'valu'; did you mean value?" in err


def test_a_full_disk_is_one_line(awbench, monkeypatch):
    import os

    def disk_full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", disk_full)
    code, _, err = awbench("complexity", "resnet20")
    assert code == 2
    assert "No space left on device" in err.splitlines()[-1]


def test_counters_that_disagree_are_exit_code_1(awbench, monkeypatch):
    from awbench.measure import fvcore_counter

    monkeypatch.setattr(fvcore_counter, "_aw_convolution_macs", lambda inputs, outputs: 1)
    code, out, err = awbench("complexity", "aw_resnet20", "--cross-check")
    assert (code, out) == (1, "")
    assert "layer layer1.0.conv1" in err


def test_help_teaches_and_does_not_wait_for_torch(root):
    program = "import sys, awbench.cli.main as m; m.main(sys.argv[1:])"
    for words in (["--help"], ["complexity", "--help"]):
        run = subprocess.run(
            [sys.executable, "-c", program, *words], capture_output=True, text=True, cwd=root, check=True
        )
        assert "awbench complexity aw_resnet50" in run.stdout
    probe = "import sys, awbench.cli.main as m\ntry: m.main(['--help'])\nfinally: assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", probe], capture_output=True, cwd=root, check=True)


def test_python_m_awbench(root):
    run = subprocess.run([sys.executable, "-m", "awbench", "--version"], capture_output=True, text=True, cwd=root)
    assert run.stdout.startswith("awbench 0.")


@pytest.mark.parametrize(
    "words",
    [
        ("table", "claims"),
        ("report",),
        ("plan",),
        ("check",),
        ("study", "status", "digits"),
        ("study", "run", "digits", "--dry-run"),
    ],
    ids=" ".join,
)
def test_a_results_folder_that_does_not_exist_is_named_and_not_made(awbench, words, tmp_path):
    code, out, err = awbench(*words, "--results", "resluts")
    assert (code, out) == (2, "")
    assert err.startswith("awbench: --results resluts does not exist; give a folder") and err.count("\n") == 1
    assert not (tmp_path / "resluts").exists()


def test_before_a_first_run_the_default_folder_has_no_records(awbench, tmp_path):
    assert awbench("table", "claims")[0] == 0
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", [c.__name__.rpartition(".")[2].removesuffix("_command") for c in COMMANDS])
def test_help_is_ascii(awbench, name):
    for words in ([], *([[action] for action in ("list", "show", "status", "run")] if name == "study" else [])):
        code, out, _ = awbench(name.replace("_", "-"), *words, "--help")
        assert code == 0 and out.isascii()


def test_an_ascii_terminal_gets_codes_and_no_traceback(root, tmp_path):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": str(root)}
    words = [sys.executable, "-m", "awbench", "study", "run", "digits", "--dry-run", "--data", "r\u00e9"]
    run = subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True)
    assert (run.returncode, run.stderr) == (0, b"") and b"/r\\xe9'" in run.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_an_answer_that_cannot_be_written_is_an_error_of_one_line(root, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": ""}
    with Path("/dev/full").open("w") as full:
        run = subprocess.run(
            [sys.executable, "-m", "awbench", "study", "list"],
            env=environment,
            cwd=tmp_path,
            stdout=full,
            stderr=subprocess.PIPE,
        )
    assert run.returncode == 2
    assert run.stderr.startswith(b"awbench: ") and b"No space left on device" in run.stderr
    assert run.stderr.count(b"\n") == 1
