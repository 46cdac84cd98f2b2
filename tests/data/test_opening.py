"""Datasets of one's own: a folder of images by class, a function, and what of them a study and a claim say."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from claim_files import claim, write_claims
from PIL import Image
from study_files import write_study
from study_records import runs_of

from awbench.data.opening import find_dataset, open_split
from awbench.errors import UserError
from awbench.records import RecordStore
from awbench.studies import load_study

COUNTS = {"train": 24, "val": 8}
FUNCTION = """
from PIL import Image

class Images:
    classes = ["dark", "light"]
    def __init__(self, count):
        self.count = count
    def __len__(self):
        return self.count
    def __getitem__(self, index):
        return Image.new("L", (8, 8), 200 * (index % 2) + index % 7), index % 2

def opened(directory, split):
    return Images({"train": 24, "val": 8}[split])
"""


@pytest.fixture
def folder(tmp_path):
    """Two classes of noise, brighter in one; files of other kinds and hidden ones beside them."""
    generator = np.random.default_rng(0)
    for split, count in COUNTS.items():
        for label, name in enumerate(("dark", "light")):
            (tmp_path / "shapes" / split / name).mkdir(parents=True)
            for i in range(count // 2):
                pixels = generator.integers(0, 100, (8, 8, 3), dtype=np.uint8) + np.uint8(150 * label)
                Image.fromarray(pixels).save(tmp_path / "shapes" / split / name / f"{i}.png")
            (tmp_path / "shapes" / split / name / ".hidden.png").write_text("")
            (tmp_path / "shapes" / split / name / "notes.txt").write_text("")
    return tmp_path / "shapes"


@pytest.fixture
def module(tmp_path, monkeypatch, request):
    """A name that is new in each test: what a function opened is kept."""
    name = f"own_{abs(hash(request.node.nodeid))}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(text: str = FUNCTION) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return f"{name}:opened"

    yield write
    sys.modules.pop(name, None)


def test_a_folder_of_images_by_class(folder):
    train, val = (open_split("folder:shapes", folder, split) for split in ("train", "val"))
    assert (len(train.images), len(val.images), val.num_classes) == (24, 8, 2) and train.digest != val.digest
    image, label = val.images[7]
    assert (image.mode, image.size, label) == ("RGB", (8, 8), 1)
    assert val.description == "shapes val, 8 images" and find_dataset("folder:shapes", folder).num_classes == 2
    newer = folder / "val/dark/0.png"
    Image.new("RGB", (9, 9)).save(newer)
    assert open_split("folder:shapes", folder, "val").digest != val.digest


def test_what_a_function_opens(module):
    train, val = (open_split(name, None, split) for name in [module()] for split in ("train", "val"))
    assert (len(train.images), len(val.images), val.num_classes) == (24, 8, 2) and train.digest != val.digest
    image, label = train.images[3]
    assert (image.mode, image.getpixel((0, 0)), label) == ("RGB", (203, 203, 203), 1)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: folder.rename(folder.with_name("gone")), "shapes is not a folder; give the folder that holds"),
        (lambda folder: (folder / "train").rename(folder / "training"), "shapes/train is missing"),
        (lambda folder: (folder / "val").rename(folder / "test"), "shapes/val is missing"),
        (lambda folder: (folder / "val/dark").rename(folder / "val/night"), "different class folders, e.g. dark"),
        (lambda folder: [p.unlink() for p in (folder / "val/dark").glob("[0-9]*")], "val/dark has no images"),
    ],
)
def test_a_folder_of_another_layout_is_named(folder, spoil, message):
    spoil(folder)
    with pytest.raises(UserError, match=message):
        open_split("folder:shapes", folder, "val")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("def opened", "def other", "has no attribute 'opened'"),
        ("    return Images(", "    raise OSError('no disk')\n    return Images(", "OSError: no disk"),
        ("    return Images(", "    raise SystemExit(3)\n    return Images(", "SystemExit"),
        ('    classes = ["dark", "light"]\n', "", "'classes'"),
        ('["dark", "light"]', '["dark"]', "8 images of 1 classes"),
        ('"val": 8', '"val": 0', "val has 0 images"),
        (", index % 2\n", ", 2 + index % 2\n", "image 0 has label 2; 2 classes are 0 to 1"),
        ("return Image.new", "return 1 or Image.new", "image 0 is of int; give Pillow's images"),
        (", index % 2\n", "\n", "image 0 is no \\(image, label\\)"),
        ("+ index % 7", "+ __import__('random').randrange(50)", "gives other images each time"),
    ],
)
def test_a_function_that_gives_something_else_is_named(module, old, new, message):
    assert old in FUNCTION
    name = module(FUNCTION.replace(old, new))
    with pytest.raises(UserError, match=f"^dataset {name}: .*{message}"):
        open_split(name, None, "val")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--dataset", "folder:shapes"], "is your own and has no recipe"),
        (["--dataset", "folder:shapes", "--recipe", "digits-quick"], "give their folder with --data DIR"),
        (["--dataset", "nowhere:opened", "--recipe", "digits-quick"], "there is no Python module nowhere"),
        (["--dataset", "folder:", "--recipe", "digits-quick"], "your own are folder:NAME with --data DIR"),
    ],
)
def test_faults_are_one_line_and_exit_code_2(awbench, words, message):
    code, out, err = awbench("train", "resnet20", *words)
    assert (code, out, len(err.splitlines())) == (2, "", 1) and message in err


def test_a_training_on_it_is_recorded_under_its_name(awbench, folder, tmp_path):
    words = ("--recipe", "digits-quick", "--set", "epochs=1", "--set", "batch_size=8", "--set", "norm_batch_size=8")
    code, _, err = awbench("train", "resnet20", "--dataset", "folder:shapes", "--data", folder, *words)
    assert code == 0, err
    (record,) = RecordStore(tmp_path / "results").read().of_kind("accuracy")
    assert record.settings.dataset == "folder:shapes" and record.options["num_classes"] == 2
    assert record.environment["train_images"] == 24 and record.value("images") == 8


def test_a_study_and_a_claim_about_it(awbench, tmp_path):
    """Runs decide the claim; on fewer images than the study states they do not count."""
    fields = {
        "name": "mine", "dataset": "folder:shapes", "images": {"train": 24, "val": 2000}, "purpose": "confirmatory",
        "looks": [3], "comparisons": [{"variant": "aw_resnet20", "over": "resnet20", "claim": "mine"}],
    }  # fmt: skip
    path = write_study(tmp_path, **fields)
    mine = claim("mine", "aw_resnet20", "resnet20", dataset="folder:shapes")
    claims = write_claims(tmp_path / "claims", mine) / "made_up.yaml"
    study, store = load_study(path), RecordStore(tmp_path / "results")
    for label, gain in (("resnet20", 0.0), ("aw_resnet20", 1.0)):
        for run in runs_of(study, label, [90.0 + gain, 90.05 + gain, 90.1 + gain], options={"num_classes": 2}):
            store.add(run)
    out = awbench("table", "claims", "--references", claims, "--json", "--study", path)[1]
    (row,) = [row for row in json.loads(out) if row["id"] == "mine"]
    assert (row["dataset"], row["status"]) == ("folder:shapes", "as claimed"), row
    code, out, err = awbench("report", "--study", path, "--references", claims)
    assert code == 0 and "mine: gain; as claimed" in out, err
    page = (tmp_path / "results/report.html").read_text()
    assert "On shapes, AW-ResNet-20 is better than ResNet-20: +1.00 (" in page and "shapes: AW-ResNet-20" in page
    assert "mine: not measured: no study is about it" in awbench("report", "--references", claims)[1]
    whole = write_study(tmp_path / "whole", **{**fields, "images": {"train": 25, "val": 2000}})
    assert "trained on 24 of 25 images" in awbench("study", "status", whole, "--references", claims)[1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"dataset": "folder:shapes"}, "dataset folder:shapes needs 'images: {train: N, val: N}'"),
        ({"dataset": "shapes", "images": COUNTS}, "dataset 'shapes' is not known"),
        ({"images": COUNTS}, "dataset digits is known, and has no 'images"),
        ({"dataset": "folder:shapes", "images": {"train": 0, "val": 8}}, "images.train"),
    ],
)
def test_a_study_says_how_many_images_its_own_dataset_has(awbench, tmp_path, fields, message):
    code, out, err = awbench("study", "show", write_study(tmp_path, **fields))
    assert (code, out, len(err.splitlines())) == (2, "", 1) and message in err
