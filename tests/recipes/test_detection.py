"""Detection recipes: Detectron2's schedules, overrides and the linear-scaling rule."""

from __future__ import annotations

import pytest

from awbench.errors import UserError
from awbench.recipes.common import list_recipes
from awbench.recipes.detection import RECIPES, load_detection_recipe


@pytest.mark.parametrize("name", list_recipes(RECIPES))
def test_every_recipe_is_valid_and_named_after_its_file(name):
    assert load_detection_recipe(name).name == name


def test_the_schedules_are_the_model_zoos():
    one, three = load_detection_recipe("detectron2-1x"), load_detection_recipe("detectron2-3x")
    assert (one.iterations, one.schedule.steps) == (90_000, (60_000, 80_000))
    assert (three.iterations, three.schedule.steps) == (270_000, (210_000, 250_000))
    assert one.model_copy(update={"name": "", "title": "", "note": ""}).model_dump(
        exclude={"iterations", "schedule", "evaluate_every"}
    ) == three.model_copy(update={"name": "", "title": "", "note": ""}).model_dump(
        exclude={"iterations", "schedule", "evaluate_every"}
    )


def test_the_learning_rate_is_detectron2s_at_every_turn():
    recipe = load_detection_recipe("detectron2-1x")
    for iteration, expected in [
        (0, 0.02 * 0.001), (500, 0.02 * 0.5005), (1000, 0.02), (59_999, 0.02), (60_000, 0.002), (80_000, 0.0002),
    ]:  # fmt: skip
        assert recipe.learning_rate(iteration) == pytest.approx(expected)


def test_the_learning_rate_is_that_of_detectron2s_own_scheduler():
    pytest.importorskip("detectron2", reason="Detectron2 is not installed: make detectron2")
    import torch
    from detectron2.config import get_cfg
    from detectron2.solver import build_lr_scheduler

    cfg = get_cfg()
    cfg.SOLVER.BASE_LR, cfg.SOLVER.STEPS, cfg.SOLVER.MAX_ITER, cfg.SOLVER.WARMUP_ITERS = 0.02, (60, 80), 90, 20
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.02)
    scheduler = build_lr_scheduler(cfg, optimizer)
    recipe = load_detection_recipe(
        "detectron2-1x", ["iterations=90", "schedule.steps=[60, 80]", "schedule.warmup_iterations=20"]
    )
    for iteration in range(90):
        assert recipe.learning_rate(iteration) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        scheduler.step()


def test_a_larger_batch_scales_rate_and_schedule_but_nothing_that_is_given():
    recipe = load_detection_recipe("detectron2-1x", ["batch_size=64"])
    assert recipe.lr_scaled_by == 4 and recipe.learning_rate(10_000) == pytest.approx(0.08)
    assert (recipe.iterations, recipe.schedule.steps, recipe.schedule.warmup_iterations) == (
        22_500,
        (15_000, 20_000),
        250,
    )
    kept = load_detection_recipe("detectron2-1x", ["batch_size=64", "iterations=90000", "optimizer.lr=0.02"])
    assert (kept.iterations, kept.lr_scaled_by, kept.schedule.steps) == (90_000, 1, (15_000, 20_000))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("images_per_part=3", "images_per_part 3 does not divide batch_size 16"),
        ("schedule.steps=[80, 60]", "schedule.steps [80, 60] do not rise"),
        ("norm=group", "norm: Input should be 'frozen' or 'batch' (it is 'group')"),
        ("freeze_at=6", "freeze_at: Input should be less than or equal to 5 (it is 6)"),
        ("input.train=[]", "input.train"),
        ("sampling.region=5", "unknown key 'region'; did you mean regions?"),
    ],
)
def test_what_does_not_fit_is_named(change, message):
    with pytest.raises(UserError) as error:
        load_detection_recipe("detectron2-1x", [change])
    assert message in str(error.value) and "\n" not in str(error.value)
