"""`awbench plan`: what to run until open claims are answered."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from awbench.cli.common import add_json, add_references, add_results, print_json
from awbench.errors import UserError, suggestion
from awbench.records import Records

_HOURS = {"h": 1, "d": 24, "": 1}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "plan",
        help="runs, GPU-hours and commands that answer the open claims",
        description="For each claim that is neither reproduced nor contradicted: how many runs of each network, what\n"
        "they cost, in which order, and the commands. Nothing is trained or measured.\n\n"
        "  awbench plan                                all open claims, with power 0.8\n"
        "  awbench plan --power 0.9 --depth 50         claims on any depth at ResNet-50\n"
        "  awbench plan --budget 500h                  the claims that 500 hours of one GPU answer, most first\n"
        "  awbench plan --deviation box_ap=0.2         assume how far runs lie apart, where unknown\n"
        "  awbench plan --device V100                  count hours of that device\n\n"
        "Hours come from trainings that were timed: records here, else the model zoo's seconds an iteration.\n"
        "Where there are none they are unknown, and the command that measures them is printed. Where nothing\n"
        "says how far runs of a metric lie apart, a pilot is planned: train it, then plan again.",
    )
    parser.add_argument("--power", default="0.8", metavar="P", help="chance that a true claim is reproduced (0.8)")
    parser.add_argument(
        "--depth", type=int, metavar="N", help="of networks, for claims on an attention setting (default: 101)"
    )
    parser.add_argument(
        "--device", default="", metavar="NAME", help="part of a GPU's name, or cpu (default: the GPU measured last)"
    )
    parser.add_argument("--budget", metavar="HOURS", help="hours of one device, e.g. 500h or 2d")
    parser.add_argument(
        "--deviation",
        action="append",
        default=[],
        metavar="METRIC=VALUE",
        help="assumed standard deviation between runs, in the metric's unit, where none is known",
    )
    add_results(parser)
    add_references(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from awbench.planning.budget import buy
    from awbench.planning.plan import plan
    from awbench.reference.load import load_references
    from awbench.report.plan import to_object, to_text

    power, assumed = _power(args.power), _deviations(args.deviation)
    hours = None if args.budget is None else _hours(args.budget)
    records, references = Records.read(args.results), load_references(args.references)
    made = plan(records, references, power, args.depth, args.device, assumed, _given_backbones())
    budget = None if hours is None else buy(made, hours)
    if args.json:
        print_json(to_object(made, budget, args.results))
    else:
        print(to_text(made, budget, args.results))
    return 0


def _given_backbones() -> list[str]:
    """Networks whose ImageNet weights lie in AWBENCH_BACKBONES, as `awbench reproduce` takes them."""
    from awbench.cli.sweep import backbones_in
    from awbench.variants import list_variants

    folder = os.environ.get("AWBENCH_BACKBONES")
    return list(backbones_in(Path(folder), [v.name for v in list_variants("classification")])) if folder else []


def _power(text: str) -> float:
    value = _finite(text)
    if value is None or not 0 < value < 1:
        raise UserError(f"--power {text} is not a probability between 0 and 1, e.g. 0.8")
    return value


def _hours(text: str) -> float:
    parts = re.fullmatch(r"(.*?)([hd]?)", text.strip())
    value = _finite(parts[1]) if parts else None
    if parts is None or value is None or value <= 0:
        raise UserError(f"--budget {text} is not a number of hours above 0, e.g. 500h or 2d")
    return value * _HOURS[parts[2]]


def _deviations(options: Sequence[str]) -> dict[str, float]:
    from awbench.reference.metrics import METRICS

    # A claim is not about an error rate but about the accuracy.
    kinds = ("accuracy", "detection")
    metrics = [name for name, metric in METRICS.items() if metric.kind in kinds and not name.endswith("_error")]
    found = {}
    for option in options:
        metric, separator, text = option.partition("=")
        if not separator:
            raise UserError(f"--deviation {option!r} is not of the form METRIC=VALUE, e.g. box_ap=0.2")
        if metric not in metrics:
            known = ", ".join(metrics)
            raise UserError(f"--deviation {metric}: no such metric{suggestion(metric, metrics)} Known: {known}.")
        value = _finite(text)
        if value is None or value <= 0:
            raise UserError(f"--deviation {option}: {text!r} is not a standard deviation above 0")
        found[metric] = value
    return found


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
