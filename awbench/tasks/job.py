"""What determines a result: one network, one dataset, one recipe, one seed, or weights that are given."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path

from awbench.errors import UserError
from awbench.modules import modules
from awbench.recipes import DetectionRecipe, Recipe
from awbench.studies import Study
from awbench.system import open_regular
from awbench.variants import AWOptions, ModelOptions, Variant


@dataclass(frozen=True)
class Job:
    """A training, or an evaluation of given weights. Its identity is the settings of its record.

    Attributes:
        options: of the network; its classes are the dataset's.
        data: folder of the dataset, None for one that is embedded or made.
        recipe: how it is trained; for given weights, how they are evaluated.
        initial_weights: a checkpoint to start from instead of random weights; of a detector, for its backbone.
        weights: to evaluate instead of training: a checkpoint, or the name of torchvision's weights.
        averaged: the averaged (EMA) weights in that checkpoint, not the plain ones.
        engine: of a detector; None for Detectron2 where it is installed, else torchvision.
        study: that it belongs to; the record says so, the result does not depend on it.
    """

    variant: Variant
    options: ModelOptions
    dataset: str
    data: Path | None
    recipe: Recipe | DetectionRecipe
    seed: int = 0
    initial_weights: Path | None = None
    weights: Path | str | None = None
    averaged: bool = False
    engine: str | None = None
    skip_bad_images: bool = False
    study: Study | None = None

    @property
    def name(self) -> str:
        """For people, e.g. "aw_resnet20 digits-quick seed 0", or "aw_resnet20 gate=tanh digits-quick seed 0"."""
        engine = [self.engine] if self.engine else []
        return " ".join([self.network, *engine, self.recipe.name, f"seed {self.seed}"])

    @property
    def network(self) -> str:
        """For people, e.g. "aw_resnet20", or "aw_resnet20 gate=tanh"."""
        options = [word for word in _options_argv(self.options) if not word.startswith("--")]
        return " ".join([self.variant.name, *options])

    def folder_name(self, key: str) -> str:
        """Name of the folder of the run that makes the record of this key."""
        engine = [self.engine] if self.engine else []
        study = [self.study.digest[:8]] if self.study else []
        dataset = self.dataset.replace(":", "-")
        parts = [self.variant.name, *engine, dataset, self.recipe.name, f"seed{self.seed}", *study, key[:8]]
        return "-".join(parts)

    def model_options(self, num_classes: int) -> ModelOptions:
        """The options with the dataset's number of classes.

        Raises:
            UserError: another number was asked for.
        """
        if self.options.num_classes not in (None, num_classes):
            raise UserError(f"num_classes is {self.options.num_classes}; {self.dataset} has {num_classes} classes")
        return dataclasses.replace(self.options, num_classes=num_classes)

    @property
    def averaged_setting(self) -> dict[str, bool]:
        """For the record's settings, where the averaged weights are asked for.

        Raises:
            UserError: there is no checkpoint that could hold them.
        """
        if self.averaged and not isinstance(self.weights or self.initial_weights, Path):
            raise UserError("--ema reads the averaged weights of a checkpoint; give its file")
        return {"averaged": True} if self.averaged else {}

    def train_argv(self) -> list[str]:
        """The command that trains it, after `awbench`."""
        # A study's file names other networks too, and what it shares runs with: it is read with all modules there are.
        known = [word for module in modules().values() for word in module.argv]
        argv = ["train", self.variant.name, *(known if self.study else self.variant.module_argv)]
        argv += ["--dataset", self.dataset]
        argv += ["--recipe", self.recipe.file]
        argv += ["--seed", str(self.seed)]
        argv += ["--engine", self.engine] if self.engine else []
        argv += ["--data", str(self.data)] if self.data else []
        argv += ["--init-weights", str(self.initial_weights)] if self.initial_weights else []
        argv += ["--ema"] if self.averaged else []
        argv += [word for change in self.recipe.changes for word in ("--set", change)]
        argv += _options_argv(self.options)
        argv += ["--study", self.study.reference] if self.study else []
        return [*argv, *(["--skip-bad-images"] if self.skip_bad_images else [])]


def _options_argv(options: ModelOptions) -> list[str]:
    """The options that are not at their default, as `awbench train` takes them."""
    default = ModelOptions()
    argv = []
    if options.stride_placement != default.stride_placement:
        argv += ["--stride-placement", options.stride_placement]
    if options.num_classes is not None:
        argv += ["--num-classes", str(options.num_classes)]
    for name, value in options.attention_options:
        argv += ["--attention-option", f"{name}={value}"]
    for name, value in options.convolution_options:
        argv += ["--convolution-option", f"{name}={value}"]
    for field in dataclasses.fields(AWOptions):
        value = getattr(options.aw, field.name)
        if value != field.default:
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()
            argv += ["--aw-option", f"{field.name}={shown}"]
    return argv


def file_sha256(path: Path) -> str:
    """sha256 of a file's content.

    Raises:
        UserError: it cannot be read.
    """
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
