"""Options that several commands share, each with one name and one meaning, and what they describe."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awbench.cli.common import Parser, key_values, log, option_value
from awbench.errors import UserError
from awbench.module_options import option_defaults, require_types
from awbench.modules import AttentionModule, modules
from awbench.recipes import DetectionRecipe, Recipe, default_dataset, default_recipe, load_detection_recipe, load_recipe
from awbench.recipes.datasets import is_own
from awbench.records import Records
from awbench.studies import find_study
from awbench.system import rank_and_size, stray_rank
from awbench.variants import AWOptions, ModelOptions, Task, Variant, make_options, parse_variant

if TYPE_CHECKING:
    from awbench.measure.timing import TimingGoal
    from awbench.reference.load import References
    from awbench.tasks import Job

_OF_NETWORKS = ("accuracy", "detection", "complexity", "latency")
_KEY_VALUE = {"action": "append", "default": [], "metavar": "KEY=VALUE"}
_SHARED: dict[str, dict[str, Any]] = {
    # what every command has
    "--json": {"action": "store_true", "help": "print JSON alone on stdout, everything else on stderr"},
    "--results": {
        "type": Path, "default": Path("results"), "metavar": "DIR", "help": "folder of records (default: results)",
    },
    "--references": {
        "type": Path, "metavar": "PATH", "action": "append", "default": [],
        "help": "published numbers and claims beside the project's own: a folder or a YAML file",
    },
    "--only-references": {
        "type": Path, "metavar": "PATH", "help": "published numbers and claims instead of the project's own",
    },
    "--study": {
        "metavar": "FILE", "action": "append", "default": [],
        "help": "a study of your own beside the project's (repeatable)",
    },
    # the network
    "--stride-placement": {
        "default": "v1.5", "metavar": "{v1,v1.5}", "help": "where bottlenecks have their stride (default: v1.5)",
    },
    "--num-classes": {"type": int, "metavar": "N", "help": "outputs (default: 1000, or 10 for CIFAR-style networks)"},
    "--aw-option": {**_KEY_VALUE, "help": "an option of AW-convolutions, see below"},
    "--attention-option": {**_KEY_VALUE, "help": "an option of SE, CBAM, ..., e.g. reduction=16"},
    "--convolution-option": {
        **_KEY_VALUE,
        "help": "an option of a module from outside in place of convolutions; of each also convolutions=3x3, 1x1 or "
        "all, and stages=3,4",
    },
    "--engine": {
        "metavar": "{detectron2,torchvision}",
        "help": "library that builds detectors (default: detectron2 where it is installed, else torchvision)",
    },
    # the data and the recipe
    "--dataset": {
        "metavar": "NAME",
        "help": "default: digits for CIFAR-style networks, digits-detection for detectors; 'awbench list --datasets' "
        "has all, and what of them is on this machine; your own: folder:NAME with --data DIR (DIR/train/<class>/, "
        "DIR/val/<class>/), or module:function (docs/your-module.md in the source)",
    },
    "--data": {"type": Path, "metavar": "DIR", "help": "folder that holds the dataset"},
    "--skip-bad-images": {"action": "store_true", "help": "leave out images that cannot be decoded, and list them"},
    "--recipe": {
        "metavar": "NAME",
        "help": "default: the dataset's own, e.g. digits-quick, fashion-mnist, cifar, cbam, detectron2-3x; 'awbench "
        "list --recipes' has all; or a YAML file",
    },
    "--set": {
        **_KEY_VALUE, "dest": "changes", "help": "change a value of the recipe, e.g. epochs=4 or optimizer.lr=0.05",
    },
    "--ema": {"action": "store_true", "help": "the averaged (EMA) weights of a checkpoint that has plain ones too"},
    # the machine
    "--device": {"default": "auto", "metavar": "{auto,cpu,cuda}", "help": "default: cuda where there is one"},
    "--workers": {
        "type": int, "metavar": "N", "help": "data-loading processes; they never change a result (default: none on a "
        "CPU, on a GPU as the cores allow, at most 8)",
    },
    "--aw-strategy": {"default": "auto", "metavar": "NAME", "help": "how AW-convolutions are executed (auto)"},
    "--threads": {"type": int, "metavar": "N", "help": "CPU threads (default: torch's own choice)"},
    "--parallel": {"type": int, "metavar": "N", "help": "runs at a time on this machine"},
    "--processes": {"type": int, "metavar": "N", "help": "processes of each run, started by torchrun"},
    "--cluster": {"choices": ("slurm", "local"), "help": "submit the runs through submitit instead"},
    "--cluster-set": {**_KEY_VALUE, "help": "a parameter of submitit, e.g. nodes=2"},
    # timing
    "--width": {
        "type": float, "default": 2.0, "metavar": "PERCENT", "help": "stop when the interval of every ratio is this "
        "narrow (2)",
    },
    "--budget": {"type": float, "default": 120.0, "metavar": "SECONDS", "help": "stop after this time (120)"},
}  # fmt: skip
# What other trainers have options for: values of a recipe here.
_RECIPE = (
    *((name, name) for name in ("epochs", "iterations", "batch_size", "label_smoothing", "precision")),
    ("lr", "optimizer.lr"), ("learning_rate", "optimizer.lr"), ("weight_decay", "optimizer.weight_decay"),
    ("momentum", "optimizer.momentum"), ("optimizer", "optimizer.name"), ("warmup_epochs", "schedule.warmup_epochs"),
)  # fmt: skip
MODEL = ("--stride-placement", "--num-classes", "--aw-option", "--attention-option", "--convolution-option")


def add_options(parser: argparse.ArgumentParser, *names: str, **changes: Any) -> None:
    """Add shared options; `changes` of their settings (default, help, ...) hold for all that are named."""
    for name in names:
        parser.add_argument(name, **{**_SHARED[name], **changes})
    if "--set" in names and isinstance(parser, Parser):
        parser.said_otherwise = {f"--{key.replace('_', '-')}": f"--set {path}={key.upper()}" for key, path in _RECIPE}


def aw_options_help() -> str:
    """The AW options, one per line, with the provenance of each default."""
    lines = ["AW options (default, provenance of the default):"]
    for field in dataclasses.fields(AWOptions):
        default = str(field.default).lower() if field.type == "bool" else field.default
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        lines.append(f"  {field.name:17} {field.metadata['help']} ({shown}, {field.metadata['provenance']})")
    return "\n".join(lines)


def model_options(args: argparse.Namespace, variants: Sequence[Variant], several: bool = False) -> ModelOptions:
    """ModelOptions from the options `MODEL`. Args: several, whether an option may have several values, to check each.

    Raises:
        UserError: one does not exist, does not fit, concerns none of the variants, or has two values.
    """
    for option in () if several else ("aw_option", "attention_option", "convolution_option"):
        names = [text.partition("=")[0] for text in getattr(args, option)]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UserError(
                f"--{option.replace('_', '-')} {twice} is given {names.count(twice)} times; a network has one value "
                "of it ('awbench sweep' takes several, of which each makes a network)"
            )
    if args.aw_option and not any(variant.aw for variant in variants):
        raise UserError(f"--aw-option {args.aw_option[0]} concerns no variant named: none has AW-convolutions")
    if args.attention_option and not any(variant.attention for variant in variants):
        raise UserError(
            f"--attention-option {args.attention_option[0]} concerns no variant named: none has SE, CBAM, ...; "
            "for AW-convolutions use --aw-option"
        )
    if args.convolution_option and not any(variant.convolution and not variant.aw for variant in variants):
        raise UserError(
            f"--convolution-option {args.convolution_option[0]} concerns no variant named: none has a module from "
            "outside in place of convolutions; for AW-convolutions use --aw-option"
        )
    _require_choices(args.aw_option)
    external = [module for variant in variants for module in variant.modules if module.is_external]
    attention, convolution = (
        _module_options(key_values("option", given, example), [one for one in external if one.slot == slot], placement)
        for given, example, slot, placement in (
            (args.attention_option, "reduction=8", "after_norm", ()),
            (args.convolution_option, "kernels=4", "convolution", ("convolutions", "stages")),
        )
    )
    return make_options(
        stride_placement=args.stride_placement,
        num_classes=args.num_classes,
        attention_options=attention,
        convolution_options=convolution,
        aw_options=dict(key_values("option", args.aw_option, "reduction=8")),
    )


def _module_options(
    given: Sequence[tuple[str, str]], external: Sequence[AttentionModule], placement: Sequence[str]
) -> dict[str, Any]:
    """Values of options from text, for modules from outside by their defaults.

    Args:
        placement: names of those that are not the module's but say where it stands.

    Raises:
        UserError: one is of another kind than its default.
    """
    values: dict[str, Any] = {}
    defaults = {name: value for one in external for name, value in option_defaults(one).items()} if given else {}
    defaults = {name: value for name, value in defaults.items() if name not in placement}
    for key, text in given:
        default = defaults.get(key, ...)
        if default is None and text.lower() == "none":
            continue  # as it is
        as_default = text if isinstance(default, str) else option_value(text)
        if isinstance(default, bool):
            as_default = {"yes": True, "on": True, "no": False, "off": False}.get(text.lower(), as_default)
        values[key] = as_default
    for module in external:
        require_types(module, {name: value for name, value in values.items() if name not in placement})
    return values


def _require_choices(given: Sequence[str]) -> None:
    """Raises: UserError: a value of --aw-option is none of its choices, whatever the network is."""
    from awbench.attention.aw_convolution import AWAttention

    names = inspect.signature(AWAttention).parameters.keys() & {field.name for field in dataclasses.fields(AWOptions)}
    for text in given:
        values = make_options(aw_options=dict(key_values("option", [text], "reduction=8"))).aw
        chosen = {name: getattr(values, name) for name in names - {"expansion"}}  # which depends on the network
        try:
            AWAttention(64, (64, 64, 3, 3), **chosen, device="meta")
        except UserError as error:
            raise UserError(f"--aw-option {text}: {error}") from None


def references_of(args: argparse.Namespace) -> References:
    """The published numbers of --references and --only-references.

    Raises:
        UserError: as `awbench.reference.load.load_references`.
    """
    from awbench.reference.load import load_references

    return load_references(args.only_references, added=args.references)


def timing_goal(args: argparse.Namespace) -> TimingGoal:
    """The goal of --width and --budget.

    Raises:
        UserError: one of them, or --threads, makes no sense.
    """
    for name, value in (("--width", args.width), ("--budget", args.budget)):
        if not 0 < value < math.inf:  # nan is neither
            raise UserError(f"{name} {value:g} must be more than 0, and finite")
    if args.threads is not None and args.threads < 1:
        raise UserError(f"--threads {args.threads} is not a number of threads; use 1 or more")
    from awbench.measure.timing import TimingGoal

    return TimingGoal(args.width / 100, args.budget)


def is_main_process() -> bool:
    """Whether this process speaks for all that torchrun started."""
    return rank_and_size()[0] == 0


def results_to_read(args: argparse.Namespace) -> Path:
    """The folder of --results, for a command that judges what is in it. Before a first run the default has no records.

    Raises:
        UserError: another one was asked for, which does not exist.
    """
    folder: Path = args.results
    if folder != _SHARED["--results"]["default"] and not folder.exists():
        raise UserError(f"--results {folder} does not exist; give a folder that a command such as train has written to")
    return folder


def read_records(args: argparse.Namespace) -> Records:
    """The records of --results, for a command that adds none; what of them needs a module that is not known is said.

    Raises:
        UserError: as `results_to_read` and `Records.read`.
    """
    records, known, missing = Records.read(results_to_read(args)), modules(), dict[str, str]()
    for record in (one for kind in _OF_NETWORKS for one in records.of_kind(kind)):
        described = record.environment.get("modules")
        for name, module in described.items() if isinstance(described, dict) else ():
            if name not in known and isinstance(module, dict):
                missing[name] = f"--module {name}={module.get('class')}"
    if missing:
        log(f"records of networks with {', '.join(missing)} may be left out; to see them: {' '.join(missing.values())}")
    return records


def dataset_of(given: str | None, variants: Sequence[Variant]) -> str:
    """The dataset of an option, or what needs no download.

    Raises:
        UserError: none is given for an ImageNet classifier, for which digits of 8x8 pixels are no default.
    """
    if given:
        return given
    for variant in variants:
        if variant.task == "classification" and variant.architecture.family == "imagenet":
            raise UserError(
                f"{variant.name} is a network for ImageNet, and no dataset is given: use --dataset imagenet "
                "--data DIR, or --dataset digits to try the code on 8x8 pixels"
            )
    return default_dataset(variants[0].task)


def recipe_of(task: Task, name: str | None, dataset: str, changes: Sequence[str]) -> Recipe | DetectionRecipe:
    """The recipe of a name, or the dataset's own, with its changes."""
    if name is None and is_own(dataset):
        raise UserError(f"dataset {dataset} is your own and has no recipe; name one ('awbench list --recipes')")
    load: Any = load_detection_recipe if task == "detection" else load_recipe
    recipe: Recipe | DetectionRecipe = load(name or default_recipe(task, dataset), changes)
    return recipe


def job_of(args: argparse.Namespace, recipe: Recipe | DetectionRecipe | None = None, **fields: Any) -> Job:
    """The job of `train` and `eval`. `fields` are those of one of the two.

    Args:
        recipe: as a sweep has planned it; None for the one that the arguments name.
    """
    from awbench.tasks import Job

    if args.workers is not None and args.workers < 0:
        raise UserError(f"--workers {args.workers} is negative; use 0 or more")
    if line := stray_rank():
        log(f"awbench: {line}")
    variant = parse_variant(args.variant)
    dataset = dataset_of(args.dataset, [variant])
    return Job(
        variant,
        model_options(args, [variant]),
        dataset,
        args.data,
        recipe or recipe_of(variant.task, args.recipe, dataset, args.changes),
        engine=args.engine,
        skip_bad_images=args.skip_bad_images,
        averaged=args.ema,
        study=find_study(args.study) if getattr(args, "study", None) else None,
        **fields,
    )


def cluster_parameters(given: Sequence[str]) -> dict[str, Any]:
    """The parameters of submitit from --cluster-set."""
    pairs = key_values("--cluster-set", given, "nodes=2")
    parameters: dict[str, Any] = {"timeout_min": 60 * 24}
    parameters |= {key: int(value) if value.isdigit() else value for key, value in pairs}
    if "gpus_per_node" in parameters:  # one process per GPU, as DistributedDataParallel wants it
        parameters.setdefault("tasks_per_node", parameters["gpus_per_node"])
    return parameters
