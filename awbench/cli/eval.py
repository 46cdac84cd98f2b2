"""`awbench eval`: accuracy of given weights, recorded."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from awbench.cli.common import log, print_json, show
from awbench.cli.options import MODEL, add_options, is_main_process, job_of
from awbench.cli.train import describe, result_object
from awbench.records import RecordStore
from awbench.variants import parse_variant


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "eval",
        help="evaluate weights and record their accuracy",
        description="Evaluate a checkpoint: our own, torchvision's, the CBAM repository's, timm's or Detectron2's,\n"
        "recognised by its keys; how it is evaluated is the recipe's. Nothing in a checkpoint is ever executed.\n\n"
        "  awbench eval resnet50 --weights resnet50-0676ba61.pth --recipe torchvision-v1 \\\n"
        "      --dataset imagenet --data DIR\n"
        "  awbench eval faster_rcnn_resnet50_fpn --weights model_final_280758.pkl --stride-placement v1 \\\n"
        "      --engine detectron2 --dataset coco --data DIR --recipe detectron2-3x",
    )
    parser.add_argument("variant", help="a name from 'awbench list'")
    parser.add_argument(
        "--weights", required=True, metavar="FILE", help="a checkpoint, or a torchvision name: IMAGENET1K_V1, DEFAULT"
    )
    add_options(parser, "--ema")
    parser.add_argument("--force", action="store_true", help="evaluate again even if it is recorded")
    add_options(parser, "--recipe", "--set", "--dataset", "--data", "--skip-bad-images")
    add_options(parser, "--device", "--workers", "--engine", *MODEL, "--results", "--json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    weights: str | Path = Path(args.weights)
    if args.weights == "DEFAULT" or args.weights.startswith("IMAGENET1K_"):
        from awbench.models.weights import torchvision_weights_name

        weights = torchvision_weights_name(parse_variant(args.variant), args.weights)
    job = job_of(args, weights=weights)

    from awbench.experiments.runs import evaluate
    from awbench.training.execution import Execution

    execution = Execution(device=args.device, workers=args.workers)
    record, new = evaluate(job, RecordStore(args.results), execution, args.force)
    if is_main_process():
        log("evaluated and recorded" if new else f"found in {args.results}, not evaluated again")
        print_json(result_object(record)) if args.json else show(describe(record))
    return 0
