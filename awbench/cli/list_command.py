"""`awbench list`: what exists."""

from __future__ import annotations

import argparse
from typing import Any

from awbench.cli.common import print_json
from awbench.cli.options import add_options
from awbench.variants import ATTENTION_MODULES, Variant, list_variants


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "list",
        help="list the variants",
        description="List every variant, a line each. Names are [aw_][attention_]<architecture>, and\n"
        "faster_rcnn_<backbone>_fpn for detectors.",
    )
    parser.add_argument("--task", choices=("classification", "detection"), help="of one task only")
    add_options(parser, "--json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    variants = list_variants(args.task)
    if args.json:
        print_json([_describe(variant) for variant in variants])
    else:
        print("\n".join(variant.name for variant in variants))
    return 0


def _describe(variant: Variant) -> dict[str, Any]:
    return {
        "variant": variant.name,
        "task": variant.task,
        "architecture": variant.architecture_name,
        "depth": variant.architecture.depth,
        "family": variant.architecture.family,
        "attention": variant.attention,
        "attention_paper": ATTENTION_MODULES[variant.attention].paper if variant.attention else None,
        "aw": variant.aw,
        "plain": variant.plain,
        "backbone": variant.backbone,
    }
