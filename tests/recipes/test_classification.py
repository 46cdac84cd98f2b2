from __future__ import annotations

import pytest

from awbench.errors import UserError
from awbench.recipes.classification import RECIPES, load_recipe
from awbench.recipes.common import list_recipes


@pytest.mark.parametrize("name", list_recipes(RECIPES))
def test_every_recipe_is_valid_and_states_its_source(name):
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.source
    assert recipe.provenance


def test_the_cbam_recipe_is_the_repositorys():
    """The values that reference_results/cbam_repository.yaml quotes."""
    from awbench.reference.load import default_directory, load_source

    quoted, recipe = load_source(default_directory() / "cbam_repository.yaml").recipe, load_recipe("cbam")
    assert recipe.epochs == quoted["epochs"]
    assert recipe.batch_size == quoted["batch_size"]
    assert recipe.optimizer.lr == float(quoted["lr"])
    assert recipe.optimizer.momentum == float(quoted["momentum"])
    assert recipe.optimizer.weight_decay == float(quoted["weight_decay"])
    assert (recipe.schedule.step_epochs, recipe.schedule.gamma) == (quoted["lr_step_epochs"], float(quoted["lr_gamma"]))
    assert recipe.augmentation.size == quoted["crop"]


def test_a_changed_batch_scales_the_learning_rate_unless_it_is_given():
    assert load_recipe("cbam", ["batch_size=1024"]).lr == pytest.approx(0.4)
    assert load_recipe("cbam", ["batch_size=1024", "optimizer.lr=0.2"]).lr == pytest.approx(0.2)
    assert load_recipe("cbam", ["epochs=4"]).lr == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["epoch=4"], r"unknown key 'epoch'; did you mean epochs\?"),
        (["optimizer.learning_rate=1"], "unknown key 'learning_rate'"),
        (["lr=1"], r"--set lr: the recipe has no lr itself; did you mean optimizer.lr\?"),
        (["learning_rate=1"], r"did you mean optimizer.lr\?"),
        (["warmup_epochs=1"], r"did you mean schedule.warmup_epochs\?"),
        (["optimiser.lr=1"], r"unknown key 'optimiser'; did you mean optimizer\?"),
        (["epochs.lr=1"], "'epochs' is not a section"),
        (["epochs=0"], "epochs: .*greater than or equal to 1"),
        (["epochs=many"], "epochs"),
        (["optimizer.lr=-1"], "optimizer.lr"),
        (["norm_batch_size=48"], "norm_batch_size 48 does not divide batch_size 256"),
        (["precision=fp8"], "precision"),
        (["epochs"], "not of the form KEY=VALUE"),
    ],
)
def test_a_wrong_value_is_one_line(changes, message):
    with pytest.raises(UserError, match=message):
        load_recipe("cbam", changes)


def test_an_unknown_recipe():
    with pytest.raises(UserError, match=r"recipe 'cbm' does not exist; did you mean cbam\?"):
        load_recipe("cbm")


def test_the_decoder_is_recorded_where_it_is_not_the_one_of_older_records():
    assert "decoder" not in load_recipe("cbam").identity()
    assert load_recipe("cbam", ["decoder=pillow"]).identity() == load_recipe("cbam").identity()
    assert load_recipe("cbam", ["decoder=torchvision"]).identity()["decoder"] == "torchvision"
    with pytest.raises(UserError, match="decoder"):
        load_recipe("cbam", ["decoder=libjpeg"])
