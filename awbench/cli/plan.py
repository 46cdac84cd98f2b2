"""`awbench plan`: what to run until open claims are answered."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from awbench.cli.common import key_values, number, print_json, show
from awbench.cli.options import add_options, read_records, references_of
from awbench.errors import UserError, suggestion

_SMALLEST = 1e-6  # of what is stated for a plan
_HOURS = {"h": 1, "d": 24, "": 1}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "plan",
        help="runs, GPU-hours and commands that answer the open claims",
        description="For each study that answers an open claim: which runs come next, how many are to be expected and\n"
        "how many it is at most, what they cost, and how probable an answer is by then. Nothing is trained.\n\n"
        "  awbench plan                                every study that is about an open claim\n"
        "  awbench plan --study imagenet --budget 60d  how far 60 days of one GPU take it\n"
        "  awbench plan --study my/study.yaml          a study of your own\n"
        "  awbench plan --deviation top1=0.15          assume how far runs lie apart\n"
        "  awbench plan --gpu-hours aw_resnet101=70 --images-per-second resnet101=1100\n"
        "                                              what your GPU needs for a run, or trains in a second\n"
        "  awbench plan --device V100                  count hours of that device\n\n"
        "A study is looked at after every added seed and ends as soon as it is answered, so few runs are expected\n"
        "of a large effect. How far runs lie apart comes from the study's own runs, else from published ones,\n"
        "low / middle / high. Hours come from trainings that were timed here, else published; of a network that\n"
        "nobody timed they are those of a cheaper one, 'at least', and the command that times it is printed.",
    )
    parser.add_argument(
        "--study", action="append", default=[], metavar="NAME", help="a study, or its YAML file (repeatable)"
    )
    parser.add_argument(
        "--device", default="", metavar="NAME", help="part of a GPU's name, or cpu (default: the GPU measured last)"
    )
    parser.add_argument("--budget", metavar="HOURS", help="hours of one device, e.g. 500h or 2d")
    for option, metavar, text in (
        ("--deviation", "METRIC=VALUE", "standard deviation between runs, in the metric's unit"),
        ("--images-per-second", "NAME=N", "how fast a network trains on your device"),
        ("--gpu-hours", "NAME=H", "what a run of a network costs on your device"),
    ):
        parser.add_argument(option, action="append", default=[], metavar=metavar, help=f"{text} (repeatable)")
    add_options(parser, "--results", "--references", "--only-references", "--json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from awbench.planning.budget import buy
    from awbench.planning.hours import Hours
    from awbench.planning.plan import plan
    from awbench.planning.throughput import throughputs
    from awbench.reference.metrics import measured_metrics
    from awbench.report.plan import to_object, to_text
    from awbench.studies import load_studies, load_study

    asked = [load_study(name) for name in dict.fromkeys(args.study)]
    own = tuple(name for name in dict.fromkeys(args.study) if name.endswith((".yaml", ".yml")))
    studies = load_studies(own)
    budget_hours = None if args.budget is None else _hours(args.budget)
    metrics = [*measured_metrics("accuracy"), *measured_metrics("detection")]
    deviations = _values("--deviation", args.deviation, metrics, "metric", "box_ap=0.2", 100)
    names = _networks(studies)
    images_per_s = _values("--images-per-second", args.images_per_second, names, "network", "resnet101=1100")
    gpu_hours = _values("--gpu-hours", args.gpu_hours, names, "network", "resnet101=48")
    records, references = read_records(args), references_of(args)
    hours = Hours(throughputs(records, references), records, args.device, images_per_s, gpu_hours)
    hours.require_device()
    made = plan(records, references, studies, asked, deviations, hours)
    budget = None if budget_hours is None else buy(made, budget_hours)
    print_json(to_object(made, budget, args.results)) if args.json else show(to_text(made, budget, args.results))
    return 0


def _networks(studies: Sequence[Any]) -> list[str]:
    """Every variant, and what studies call theirs."""
    from awbench.variants import list_variants

    labels = [label for study in studies for label in study.labels]
    return list(dict.fromkeys([*(variant.name for variant in list_variants()), *labels]))


def _values(
    option: str, given: Sequence[str], names: Sequence[str], noun: str, example: str, largest: float = 10**6
) -> dict[str, float]:
    """The values of a repeated option, by name."""
    found = {}
    for name, text in key_values(option, given, example):
        if name not in names:
            known = f" Known: {', '.join(names)}." if len(names) < 20 else " See 'awbench list'."
            raise UserError(f"{option} {name}: no such {noun}{suggestion(name, names)}{known}")
        value = number(text)
        if isinstance(value, str) or not _SMALLEST <= value <= largest:
            raise UserError(f"{option} {name}={text}: {text!r} is not a number of {_SMALLEST:f} to {largest:,}")
        found[name] = float(value)
    return found


def _hours(text: str) -> float:
    unit = text.strip()[-1:] if text.strip().endswith(("h", "d")) else ""
    value = number(text.strip().removesuffix(unit))
    if isinstance(value, str) or not 0 < value <= 10**9:
        raise UserError(f"--budget {text} is not a number of hours above 0, e.g. 500h or 2d")
    return float(value * _HOURS[unit])
