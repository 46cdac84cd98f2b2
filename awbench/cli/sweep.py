"""`awbench sweep`: a grid of training runs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awbench.cli.common import add_json, add_results, print_json, say
from awbench.cli.training_options import add_detection, add_recipe_changes, recipe_of
from awbench.errors import UserError
from awbench.recipes import default_dataset
from awbench.records import RecordStore
from awbench.variants import ModelOptions, parse_variant

if TYPE_CHECKING:
    from awbench.tasks import Job

_QUICK = {"classification": "digits-quick", "detection": "shapes-quick"}
_WEIGHT_FILES = (".safetensors", ".pth", ".pt", ".pkl")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "sweep",
        help="train a grid of variants, seeds and recipes",
        description="Train every variant with every seed and recipe, here or on a Slurm cluster. What is\n"
        "recorded is not trained again; what failed is listed, and the others go on. Start it again, or twice\n"
        "at once: no run is repeated.\n\n"
        "  awbench sweep resnet20 aw_resnet20 --seeds 0 1 2 --parallel 2\n"
        "  awbench sweep resnet101 aw_resnet101 --dataset imagenet --data DIR --recipes cbam --cluster slurm\n"
        "      --cluster-set nodes=1 --cluster-set gpus_per_node=8 --cluster-set slurm_partition=NAME",
    )
    parser.add_argument("variant", nargs="+", help="names from 'awbench list', of one task")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N")
    parser.add_argument(
        "--recipes", nargs="+", metavar="NAME", help="default: digits-quick, shapes-quick for detectors"
    )
    parser.add_argument("--dataset", metavar="NAME", help="default: digits, or shapes for detectors")
    parser.add_argument(
        "--backbones", type=Path, metavar="DIR", help="ImageNet weights of detectors' backbones, e.g. resnet101.pth"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder that holds the dataset")
    parser.add_argument("--parallel", type=int, default=1, metavar="N", help="runs at a time on this machine")
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="processes of each run, by torchrun")
    parser.add_argument("--workers", type=int, default=0, metavar="N", help="loading processes of each process")
    parser.add_argument("--cluster", choices=("slurm", "local"), help="submit through submitit instead")
    parser.add_argument(
        "--cluster-set", action="append", default=[], metavar="KEY=VALUE", help="submitit's parameters, e.g. nodes=2"
    )
    add_recipe_changes(parser)
    add_detection(parser)
    add_results(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.parallel < 1 or args.processes < 1 or args.workers < 0:
        raise UserError("--parallel and --processes must be at least 1, --workers at least 0")
    jobs = _jobs(args)

    from awbench.experiments.sweep import plan_runs, run_sweep, submit_sweep

    store = RecordStore(args.results)
    runs = plan_runs(jobs, args.results.resolve(), ["--workers", str(args.workers)])
    if args.cluster:
        result = submit_sweep(runs, store, args.cluster, cluster_parameters(args.cluster_set), say)
    else:
        result = run_sweep(runs, store, args.parallel, args.processes, say)
    say(f"{len(result.trained)} trained, {len(result.found)} found, {len(result.failed)} failed")
    if args.json:
        print_json({"trained": result.trained, "found": result.found, "failed": result.failed})
    else:
        for name, why in result.failed.items():
            print(f"failed: {name}: {why}")
    return 2 if result.failed else 0


def _jobs(args: argparse.Namespace) -> list[Job]:
    """Seeds outermost: after each round every variant has one run more."""
    from awbench.tasks import Job

    variants = [parse_variant(name) for name in args.variant]
    task = variants[0].task
    if any(variant.task != task for variant in variants):
        raise UserError(f"{args.variant[0]} and others are of different tasks; sweep classifiers and detectors apart")
    if task == "classification" and (args.engine or args.backbones):
        raise UserError("--engine and --backbones are for detectors; the variants named are classifiers")
    dataset, data = args.dataset or default_dataset(task), args.data.resolve() if args.data else None
    recipes = [recipe_of(task, name, dataset, args.changes) for name in args.recipes or [_QUICK[task]]]
    names = [variant.backbone for variant in variants]
    weights = backbones_in(args.backbones, names) if args.backbones else {}
    missing = [name for name in names if name not in weights] if args.backbones else []
    if missing:
        raise UserError(f"{args.backbones} has no weights of {', '.join(missing)}; expected e.g. {missing[0]}.pth")
    return [
        Job(variant, ModelOptions(), dataset, data, recipe, seed, weights.get(variant.backbone), engine=args.engine)
        for seed in args.seeds
        for recipe in recipes
        for variant in variants
    ]


def backbones_in(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Files in a folder that are named after networks, e.g. aw_resnet101.safetensors, by the network's name.

    Raises:
        UserError: it is not a folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder; give the one that holds ImageNet weights such as resnet101.pth")
    candidates = ((name, folder / f"{name}{ending}") for name in names for ending in reversed(_WEIGHT_FILES))
    return {name: path.resolve() for name, path in candidates if path.is_file()}


def cluster_parameters(words: list[str]) -> dict[str, Any]:
    parameters: dict[str, Any] = {"timeout_min": 60 * 24}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator:
            raise UserError(f"--cluster-set {word!r} is not of the form KEY=VALUE, e.g. nodes=2")
        parameters[key] = int(value) if value.isdigit() else value
    if "gpus_per_node" in parameters:  # a process for each GPU, as DistributedDataParallel wants it
        parameters.setdefault("tasks_per_node", parameters["gpus_per_node"])
    return parameters
