"""Lists of datasets and recipes, and which recipe is the default."""

from __future__ import annotations

import argparse
import json
import re

import pytest

from awbench.cli.options import recipe_of
from awbench.cli.sweep import _jobs
from awbench.data import fashion_mnist
from awbench.data.datasets import DATASETS
from awbench.data.detection_datasets import DETECTION_DATASETS
from awbench.data.opening import open_split
from awbench.recipes import RECIPES_OF, default_recipe
from awbench.recipes.classification import RECIPES
from awbench.recipes.common import list_recipes
from awbench.recipes.detection import RECIPES as DETECTION_RECIPES


def rows(awbench, *words):
    code, out, err = awbench("list", *words, "--json")
    assert code == 0, err
    return {row["name"]: row for row in json.loads(out)}


def test_every_dataset_and_every_recipe_is_listed(awbench):
    assert list(rows(awbench, "--datasets")) == [*DATASETS, *DETECTION_DATASETS]
    recipes = [*list_recipes(RECIPES), *list_recipes(DETECTION_RECIPES)]
    assert list(rows(awbench, "--recipes")) == recipes
    assert set(RECIPES_OF) == {*DATASETS, *DETECTION_DATASETS}
    assert {name for names in RECIPES_OF.values() for name in names} == set(recipes)
    assert list(rows(awbench, "--recipes", "--task", "detection")) == list_recipes(DETECTION_RECIPES)


def test_images_are_those_of_the_splits_and_recipes_say_how_long(awbench):
    datasets = rows(awbench, "--datasets")
    for name in ("digits", "fake"):
        splits = [open_split(name, None, split) for split in ("train", "val")]
        assert datasets[name]["images"] == [len(split.images) for split in splits]
    assert datasets["fashion-mnist-dev"]["images"] == [55_000, 5_000]
    recipes = rows(awbench, "--recipes")
    assert (recipes["fashion-mnist"]["length"], recipes["fashion-mnist"]["default_of"]) == (
        "10 epochs", ["fashion-mnist", "fashion-mnist-dev"],
    )  # fmt: skip
    assert "| 60,000 + 10,000 " in awbench("list", "--datasets")[1]


def test_it_says_what_is_on_this_machine(awbench, tmp_path, monkeypatch):
    monkeypatch.setenv("AWBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("AWBENCH_COCO", str(tmp_path))
    monkeypatch.delenv("AWBENCH_IMAGENET", raising=False)
    monkeypatch.setattr(fashion_mnist, "DEBIAN", tmp_path / "nowhere")
    where = {name: row["where"] for name, row in rows(awbench, "--datasets").items()}
    assert where["imagenet"].startswith("needs --data DIR")
    assert where["coco"].startswith(f"found in {tmp_path} (AWBENCH_COCO")
    assert where["fashion-mnist"] == f"not here: downloaded into {tmp_path / 'cache'}, or --data DIR"
    assert (where["digits"], where["fake"]) == ("comes with scikit-learn", "made here")
    assert where["digits-detection"] == f"made here, in {tmp_path / 'cache'}"
    folder = tmp_path / "cache/FashionMNIST/raw"
    folder.mkdir(parents=True)
    assert rows(awbench, "--datasets")["fashion-mnist"]["where"] == f"found in {folder}"
    assert not list(folder.iterdir()), "nothing was downloaded"


def test_what_concerns_variants_is_not_dropped(awbench):
    for words in (("resnet50", "--datasets"), ("--counts", "--recipes")):
        code, out, err = awbench("list", *words)
        assert (code, out) == (2, "") and "lists no variants" in err


@pytest.mark.parametrize(
    ("task", "dataset", "recipe"),
    [
        ("classification", "fashion-mnist", "fashion-mnist"),
        ("classification", "cifar100", "cifar"),
        ("classification", "imagenet", "cbam"),
        ("classification", "digits", "digits-quick"),
        ("classification", "unknown", "digits-quick"),
        ("detection", "coco", "detectron2-3x"),
        ("detection", "digits-detection", "digits-detection"),
        ("detection", "unknown", "digits-detection"),
    ],
)
def test_the_default_recipe_is_the_datasets(task, dataset, recipe):
    assert default_recipe(task, dataset) == recipe
    assert recipe_of(task, None, dataset, ()) == recipe_of(task, recipe, dataset, ()), (
        "the same run as the explicit one"
    )


def test_a_sweep_takes_the_same_default(tmp_path):
    args = argparse.Namespace(
        variant=["resnet20"], dataset="fashion-mnist", data=None, recipes=None, changes=[], seeds=[0], engine=None,
        backbones=None, init_weights=None, aw_option=[], attention_option=[], convolution_option=[],
        stride_placement="v1.5", num_classes=None,
    )  # fmt: skip
    assert [job.recipe.name for job in _jobs(args)] == ["fashion-mnist"]


def test_locked_counts_have_the_columns_and_keys_of_complexity(awbench):
    (counted,) = json.loads(awbench("complexity", "aw_se_resnet18", "--json")[1])
    (listed,) = json.loads(awbench("list", "aw_se_resnet18", "--counts", "--json")[1])
    assert listed.items() <= counted.items()
    assert {"params", "macs", "aw_kernel_forming", "attention_scaling", "activations"} <= listed.keys()
    detectors = json.loads(awbench("list", "faster_rcnn_se_resnet18_fpn", "--counts", "--json")[1])
    assert [row["image_size"] for row in detectors] == [[800, 1088]] * len(detectors)
    assert re.search(r"\| +scaling \(M\) \|", awbench("list", "se_resnet18", "--counts")[1])
