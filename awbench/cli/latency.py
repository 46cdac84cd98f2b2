"""`awbench latency`: networks timed side by side."""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from awbench.cli.common import OF_THE_TIME, log, print_table, show_progress, shown_duration
from awbench.cli.options import MODEL, add_options, aw_options_help, model_options, timing_goal
from awbench.errors import UserError
from awbench.records import Record, RecordStore
from awbench.studies import load_study
from awbench.variants import list_variants, parse_variants

if TYPE_CHECKING:
    from awbench.measure.timing import TimingGoal

DEFAULT_ARCHITECTURE = "resnet50"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "latency",
        help="time networks side by side, as ratios to the plain network with intervals",
        description="Time networks interleaved (A B C, B A C, ...), so that other load on the machine hits all of\n"
        "them alike, until every ratio to the plain network is known well enough or the time is up. A ratio is\n"
        "worth more than a time: it was measured in one run, and other load divides out of it.\n\n"
        "  awbench latency                                          ResNet-50 with every attention\n"
        "  awbench latency aw_resnet50 --batch-size 1 8 --dtype bfloat16 --layout channels_last\n"
        "  awbench latency aw_resnet101 se_resnet101 --device cuda --batch-size 64 --cuda-graph\n"
        "  awbench latency faster_rcnn_aw_resnet50_fpn --engine torchvision\n"
        "  awbench latency --study fashion-mnist --batch-size 128   its networks, with their options, at its size\n\n"
        "Detectors are timed per image: data, network and post-processing apart; the ratio is the network's.\n\n"
        "A ratio whose interval is wider than a quarter of it is marked: too noisy. Exit code 3: all of them are.",
        epilog=aw_options_help(),
    )
    parser.add_argument("variant", nargs="*", help="names from 'awbench list', or patterns (default: all of ResNet-50)")
    parser.add_argument("--study", metavar="STUDY", help="the networks of a study: its name or its file")
    add_options(parser, "--device")
    parser.add_argument(
        "--batch-size", type=int, nargs="+", default=[1], metavar="N", help="images per call, one run for each (1)"
    )
    parser.add_argument("--dtype", default="float32", help="of weights and images (default: float32)")
    parser.add_argument(
        "--layout", default="contiguous", metavar="{contiguous,channels_last}", help="default: contiguous"
    )
    parser.add_argument("--compile", action="store_true", help="compile the networks with torch.compile")
    parser.add_argument("--cuda-graph", action="store_true", help="capture a CUDA graph once and replay it")
    parser.add_argument(
        "--image-size", type=int, metavar="N", help="pixels a side (default: 224, CIFAR-style 32, a study's own)"
    )
    add_options(parser, "--aw-strategy", "--threads", "--width", "--budget", "--engine", *MODEL, "--results", "--json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from awbench.measure.latency import TimedNetwork

    study = load_study(args.study) if args.study else None
    if study is None:
        variants = parse_variants(args.variant) or [
            variant for variant in list_variants("classification") if variant.architecture_name == DEFAULT_ARCHITECTURE
        ]
        options = model_options(args, variants)
        networks = [TimedNetwork(variant, options) for variant in variants]
    else:
        _require_no_network(args)
        networks = [TimedNetwork(study.variant_of(label), study.options_of(label), label) for label in study.labels]
    goal = timing_goal(args)
    by_task = [[each for each in networks if each.variant.task == task] for task in ("classification", "detection")]
    if args.engine and not by_task[1]:
        raise UserError("--engine concerns no variant named: none is a detector")

    from awbench.experiments.measurements import record_latency
    from awbench.measure.latency import LatencySettings, check_settings
    from awbench.report.latency import is_too_noisy, latency_table, timing
    from awbench.training.distributed import choose_device

    image_size = study.image_size if study and args.image_size is None else args.image_size
    base = LatencySettings(
        choose_device(args.device).type, 1, args.dtype, args.layout, args.compile, args.cuda_graph, image_size,
        args.aw_strategy,
    )  # fmt: skip
    jobs = [(group, replace(base, batch_size=size)) for group in by_task if group for size in args.batch_size]
    for _, settings in jobs:
        check_settings(settings)  # all of them, before the first minute is spent
    store, records = RecordStore(args.results), list[Record]()
    engine = args.engine or (study.engine if study else None) or None
    with threads(args.threads):
        for group, settings in jobs:
            with timing_progress(group, goal) as on_progress:
                made, _ = record_latency(store, group, settings, goal, engine, True, on_progress)
                records += made
    print_table(latency_table(records), "json" if args.json else None)
    noisy = [is_too_noisy(record) for record in records if record.variant != timing(record).over]
    if noisy and all(noisy):
        log(
            "awbench: no ratio is usable: every interval is wider than a quarter of its ratio; time again with nothing "
            "else running, or with a longer --budget",
            logging.ERROR,
        )
        return 3
    return 0


def _require_no_network(args: argparse.Namespace) -> None:
    """Raises: UserError: a network, or an option of one, is given beside a study, which says them."""
    default = {"stride_placement": "v1.5", "num_classes": None}
    given = [
        "a variant" if name == "variant" else f"--{name.replace('_', '-')}"
        for name in ("variant", *(option[2:].replace("-", "_") for option in MODEL))
        if getattr(args, name) != default.get(name, [])
    ]
    if given:
        raise UserError(f"{given[0]} and --study {args.study} are given; the study says which networks, and how built")


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """With so many threads on a CPU."""
    import torch

    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def timing_progress(networks: Sized, goal: TimingGoal) -> Iterator[Callable[[int, float], None]]:
    """Show the number of rounds, how well the worst ratio is known, and what at most of the budget is left."""
    started: float | None = None
    what = f"{len(networks)} network{'s' * (len(networks) != 1)}"
    with show_progress(f"timing {what}", OF_THE_TIME) as shown:

        def on_progress(rounds: int, width: float) -> None:
            nonlocal started
            first, now = started is None, time.monotonic()
            started = now if started is None else started  # the networks are built and warm: the budget is spent
            known = f"{rounds} rounds, intervals {width:.1%} wide, asked {goal.width:.1%}"
            left = f"at most {shown_duration(max(0.0, started + goal.budget - now))} left (--budget)"
            shown.show(now - started, goal.budget, f"{known}, {left}", now=first)

        yield on_progress
