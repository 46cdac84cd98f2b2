"""`awbench sweep`: a grid of training runs."""

from __future__ import annotations

import argparse
import itertools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awbench.cli.common import NO_EVIDENCE, log, print_json, print_runs
from awbench.cli.options import (
    MODEL,
    add_options,
    aw_options_help,
    cluster_parameters,
    dataset_of,
    model_options,
    recipe_of,
)
from awbench.errors import UserError
from awbench.records import RecordStore
from awbench.text import plural
from awbench.variants import ModelOptions, Variant, parse_variants

if TYPE_CHECKING:
    from awbench.tasks import Job

_WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".pkl")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "sweep",
        help="train a grid of variants, seeds and recipes",
        description="Train every variant with every seed and recipe, here or on a Slurm cluster. What is\n"
        "recorded is not trained again; what failed is listed, and the others go on. Start it again, or twice\n"
        "at once: no run is repeated.\n\n"
        "  awbench sweep resnet20 aw_resnet20 --seeds 0 1 2 --parallel 2\n"
        "  awbench sweep 'aw_*resnet20' --aw-option expansion=1 --aw-option expansion=16 --aw-option gate=tanh\n"
        "  awbench sweep resnet101 aw_resnet101 --dataset imagenet --data DIR --recipes cbam --cluster slurm\n"
        "      --cluster-set nodes=1 --cluster-set gpus_per_node=8 --cluster-set slurm_partition=NAME\n\n"
        "An option given several times has several values, and every combination is trained; an option concerns\n"
        "the variants that have what it is about.",
        epilog=aw_options_help(),
    )
    parser.add_argument("variant", nargs="+", help="names from 'awbench list', or patterns, of one task")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="default: 0")
    parser.add_argument(
        "--recipes", nargs="+", metavar="NAME", help="default: the dataset's own, see 'awbench list --recipes'"
    )
    parser.add_argument(
        "--backbones", type=Path, metavar="DIR", help="ImageNet weights of detectors' backbones, e.g. resnet101.pth"
    )
    parser.add_argument("--init-weights", type=Path, metavar="FILE", help="every run starts from these weights")
    add_options(parser, "--set", "--dataset", "--data", "--engine", *MODEL, "--device", "--workers")
    add_options(parser, "--parallel", "--processes", default=1)
    parser.add_argument("--keep-checkpoints", action="store_true", help="of finished runs too, beside their weights")
    add_options(parser, "--cluster", "--cluster-set", "--results", "--json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.parallel < 1 or args.processes < 1 or (args.workers or 0) < 0:
        raise UserError("--parallel and --processes must be at least 1, --workers at least 0")
    jobs = _jobs(args)

    from awbench.experiments.sweep import KEEP, plan_runs, run_sweep, submit_sweep

    store = RecordStore(args.results)
    log(f"{plural(len(jobs), 'run')}, {args.parallel} at a time")
    words = [] if args.workers is None else ["--workers", str(args.workers)]
    words += ["--device", args.device, *[KEEP] * args.keep_checkpoints]
    runs = plan_runs(jobs, args.results.resolve(), words)
    if args.cluster:
        result = submit_sweep(runs, store, args.cluster, cluster_parameters(args.cluster_set), _log_run)
    else:
        result = run_sweep(runs, store, args.parallel, args.processes, _log_run)
    log(f"{len(result.trained)} trained, {len(result.found)} found, {len(result.failed)} failed")
    log(NO_EVIDENCE)
    if args.json:
        print_json({"trained": result.trained, "found": result.found, "failed": result.failed})
    else:
        options = (*args.aw_option, *args.attention_option, *args.convolution_option)
        stated = {text.partition("=")[0] for text in options}
        print_runs(store.read(), {run.key for run in runs}, stated)
    return 2 if result.failed else 0


def _log_run(line: str) -> None:
    """A run that failed is said once, when it has, and with -q too."""
    log(line, logging.WARNING if line.startswith("failed: ") else logging.INFO)


def _jobs(args: argparse.Namespace) -> list[Job]:
    """Seeds outermost: after each round every variant has one run more."""
    from awbench.tasks import Job

    variants = parse_variants(args.variant)
    task = variants[0].task
    if any(variant.task != task for variant in variants):
        raise UserError(f"{args.variant[0]} and others are of different tasks; sweep classifiers and detectors apart")
    if task == "classification" and (args.engine or args.backbones):
        raise UserError("--engine and --backbones are for detectors; the variants named are classifiers")
    if args.init_weights and args.backbones:
        raise UserError("give one of --init-weights and --backbones: both say what runs start from")
    dataset, data = dataset_of(args.dataset, variants), args.data.resolve() if args.data else None
    recipes = [recipe_of(task, name, dataset, args.changes) for name in args.recipes or [None]]
    names = [variant.backbone for variant in variants]
    weights = backbones_in(args.backbones, names) if args.backbones else {}
    missing = [name for name in names if name not in weights] if args.backbones else []
    if missing:
        raise UserError(f"{args.backbones} has no weights of {', '.join(missing)}; expected e.g. {missing[0]}.pth")
    given = args.init_weights.resolve() if args.init_weights else None
    networks = [(variant, options) for variant in variants for options in _combinations(args, variants, variant)]
    return [
        Job(variant, options, dataset, data, recipe, seed, weights.get(variant.backbone, given), engine=args.engine)
        for seed in args.seeds
        for recipe in recipes
        for variant, options in networks
    ]


def _combinations(args: argparse.Namespace, variants: Sequence[Variant], variant: Variant) -> list[ModelOptions]:
    """The options of a variant's networks: every combination of the values of those that concern it."""
    concerned = {
        "aw_option": variant.aw,
        "attention_option": variant.attention,
        "convolution_option": variant.convolution and not variant.aw,
    }
    model_options(args, variants, several=True)  # each is one, and concerns a variant
    axes: dict[tuple[str, str], list[str]] = {}
    for name, concerns in concerned.items():
        for given in getattr(args, name) if concerns else ():
            axes.setdefault((name, given.partition("=")[0]), []).append(given)
    combinations = []
    for values in itertools.product(*axes.values()):
        chosen = {
            name: [value for (of, _), value in zip(axes, values, strict=True) if of == name] for name in concerned
        }
        one = argparse.Namespace(**{**vars(args), **chosen})
        combinations.append(model_options(one, [variant]))
    return list(dict.fromkeys(combinations))


def backbones_in(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Files in a folder that are named after networks, e.g. aw_resnet101.safetensors, by the network's name.

    Raises:
        UserError: it is not a folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the one that holds ImageNet weights such as resnet101.pth")
    candidates = ((name, folder / f"{name}{ending}") for name in names for ending in reversed(_WEIGHT_FILES))
    return {name: path.resolve() for name, path in candidates if path.is_file()}
