"""How networks are trained and evaluated, as data: recipes, the default one of each dataset, protocol numbers."""

from awbench.recipes.classification import Recipe, load_recipe
from awbench.recipes.defaults import (
    PROTOCOLS,
    RECIPES_OF,
    default_dataset,
    default_recipe,
)
from awbench.recipes.detection import DetectionRecipe, load_detection_recipe

__all__ = [
    "PROTOCOLS",
    "RECIPES_OF",
    "DetectionRecipe",
    "Recipe",
    "default_dataset",
    "default_recipe",
    "load_detection_recipe",
    "load_recipe",
]
