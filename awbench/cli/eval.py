"""`awbench eval`: accuracy of given weights, recorded."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from awbench.cli.common import add_json, add_model_options, add_results, model_options, print_json, say
from awbench.cli.train import describe, result_object
from awbench.cli.training_options import add_dataset, add_detection, add_machine, add_recipe, add_recipe_changes
from awbench.errors import UserError
from awbench.records import Record, RecordStore
from awbench.variants import ModelOptions, Variant, parse_variant


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "eval",
        help="evaluate weights and record their accuracy",
        description="Evaluate a checkpoint: our own, torchvision's, the CBAM repository's, timm's or Detectron2's,\n"
        "recognised by its keys. Nothing in a checkpoint is ever executed.\n\n"
        "  awbench eval resnet50 --weights resnet50-0676ba61.pth --recipe torchvision-v1 \\\n"
        "      --dataset imagenet --data DIR\n"
        "  awbench eval faster_rcnn_resnet50_fpn --weights model_final_280758.pkl --stride-placement v1 \\\n"
        "      --engine detectron2 --dataset coco --data DIR --recipe detectron2-3x",
    )
    parser.add_argument("variant", help="a name from 'awbench list'")
    parser.add_argument(
        "--weights", required=True, metavar="FILE", help="a checkpoint, or a torchvision name such as IMAGENET1K_V1"
    )
    add_recipe(parser, "whose way of evaluating is used")
    parser.add_argument("--force", action="store_true", help="evaluate again even if it is recorded")
    add_dataset(parser)
    add_recipe_changes(parser)
    add_detection(parser)
    add_machine(parser)
    add_model_options(parser)
    add_results(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.workers < 0:
        raise UserError(f"--workers {args.workers} is negative; use 0 or more")
    variant = parse_variant(args.variant)
    options = model_options(args, [variant])
    evaluate = _evaluate_detector if variant.task == "detection" else _evaluate_classifier
    record, new = evaluate(args, variant, options)
    if os.environ.get("RANK", "0") != "0":
        return 0
    say("evaluated and recorded" if new else f"found in {args.results}, not evaluated again")
    print_json(result_object(record)) if args.json else print(describe(record))
    return 0


def _evaluate_classifier(args: argparse.Namespace, variant: Variant, options: ModelOptions) -> tuple[Record, bool]:
    from awbench.recipes.classification import load_recipe
    from awbench.training.evaluation import EvaluationJob, evaluate_job

    if args.engine:
        raise UserError(f"--engine {args.engine} is for detectors; {variant.name} is a classifier")
    job = EvaluationJob(
        variant,
        options,
        args.dataset or "digits",
        args.data,
        load_recipe(args.recipe or "digits-quick", args.changes),
        args.weights if args.weights.startswith("IMAGENET1K_") else Path(args.weights),
        args.skip_bad_images,
    )
    return evaluate_job(job, RecordStore(args.results), args.device, args.workers, args.force)


def _evaluate_detector(args: argparse.Namespace, variant: Variant, options: ModelOptions) -> tuple[Record, bool]:
    from awbench.detection.job import DetectionJob, evaluate_detector
    from awbench.recipes import default_recipe, load_detection_recipe

    job = DetectionJob(
        variant,
        options,
        args.engine,
        args.dataset or "shapes",
        args.data,
        load_detection_recipe(args.recipe or default_recipe("detection", args.dataset or "shapes"), args.changes),
        skip_bad_images=args.skip_bad_images,
    )
    store = RecordStore(args.results)
    return evaluate_detector(job, Path(args.weights), store, args.device, args.workers, args.force)
