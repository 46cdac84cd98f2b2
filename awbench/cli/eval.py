"""`awbench eval`: accuracy of given weights, recorded."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from awbench.cli.common import add_json, add_model_options, add_results, model_options, print_json, say
from awbench.cli.train import accuracy_object, describe
from awbench.cli.training_options import add_dataset, add_machine, add_recipe_changes
from awbench.records import RecordStore
from awbench.variants import parse_variant


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "eval",
        help="evaluate weights and record their accuracy",
        description="Evaluate a checkpoint: our own, torchvision's, the CBAM repository's or timm's layout,\n"
        "recognised by its keys. Nothing in a checkpoint is ever executed.\n\n"
        "  awbench eval resnet50 --weights resnet50-0676ba61.pth --dataset imagenet --data DIR --recipe torchvision-v1",
    )
    parser.add_argument("variant", help="a name from 'awbench list --task classification'")
    parser.add_argument(
        "--weights", required=True, metavar="FILE", help="a checkpoint, or a torchvision name such as IMAGENET1K_V1"
    )
    parser.add_argument(
        "--recipe", default="digits-quick", metavar="NAME", help="whose evaluation transform is used (digits-quick)"
    )
    parser.add_argument("--force", action="store_true", help="evaluate again even if it is recorded")
    add_dataset(parser)
    add_recipe_changes(parser)
    add_machine(parser)
    add_model_options(parser)
    add_results(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    variant = parse_variant(args.variant, "classification")
    options = model_options(args, [variant])
    from awbench.training.evaluation import EvaluationJob, evaluate_job
    from awbench.training.recipe import load_recipe

    job = EvaluationJob(
        variant,
        options,
        args.dataset,
        args.data,
        load_recipe(args.recipe, args.changes),
        args.weights if args.weights.startswith("IMAGENET1K_") else Path(args.weights),
        args.skip_bad_images,
    )
    record, new = evaluate_job(job, RecordStore(args.results), args.device, args.workers, args.force)
    if os.environ.get("RANK", "0") != "0":
        return 0
    say("evaluated and recorded" if new else f"found in {args.results}, not evaluated again")
    print_json(accuracy_object(record)) if args.json else print(describe(record))
    return 0
