"""`awbench aw-speed`: one AW-convolution executed every way, beside a plain one."""

from __future__ import annotations

import argparse
from typing import Any

from awbench.cli.common import log, print_table
from awbench.cli.options import add_options, timing_goal
from awbench.records import Record, RecordStore


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "aw-speed",
        help="time an AW-convolution executed every way beside a plain convolution, SE and CBAM",
        description="Time one AW-convolution at ResNet-50's 3x3 shapes, executed by every strategy, beside the plain\n"
        "convolution, SE and CBAM on the same input: interleaved, in one run, as ratios. On a GPU also how far each\n"
        "is from what the GPU's measured rates of copying and multiplying allow.\n\n"
        "  awbench aw-speed                          forward\n"
        "  awbench aw-speed --backward --budget 300  forward and backward too\n\n"
        "The table can be printed again from the records with 'awbench table aw-speed'.",
    )
    add_options(parser, "--device")
    parser.add_argument("--batch-size", type=int, metavar="N", help="images per call (default: 8, on a GPU 64)")
    parser.add_argument("--dtype", help="default: float32, on a GPU bfloat16")
    parser.add_argument(
        "--layout", metavar="{contiguous,channels_last}", help="default: contiguous, on a GPU channels_last"
    )
    parser.add_argument(
        "--expansion", type=int, metavar="E", help="input channels that share a value of the map (default: all, e = C1)"
    )
    parser.add_argument("--backward", action="store_true", help="also time forward and backward together")
    add_options(parser, "--threads", "--width")
    add_options(parser, "--budget", help="stop after this time, for each direction (120)")
    add_options(parser, "--results", "--json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    goal = timing_goal(args)

    from awbench.cli.latency import threads
    from awbench.experiments.aw_speed import record_aw_speed
    from awbench.measure.aw_speed import DIRECTIONS, RESNET50_SHAPES, SpeedSettings, check_speed_settings
    from awbench.report.aw_speed import runs_table
    from awbench.training.distributed import choose_device

    device = choose_device(args.device).type
    cuda = device == "cuda"
    batch_size = args.batch_size if args.batch_size is not None else 64 if cuda else 8
    dtype = args.dtype or ("bfloat16" if cuda else "float32")
    layout = args.layout or ("channels_last" if cuda else "contiguous")
    store, records = RecordStore(args.results), list[Record]()
    with threads(args.threads):
        for direction in DIRECTIONS[: 2 if args.backward else 1]:
            settings = SpeedSettings(device, batch_size, dtype, layout, direction, args.expansion)
            check_speed_settings(settings, RESNET50_SHAPES)
            log(f"timing {len(RESNET50_SHAPES)} shapes, {direction}: {args.budget:g} s, warming up not included")
            records += record_aw_speed(store, RESNET50_SHAPES, settings, goal)
    print_table(runs_table(records), "json" if args.json else None)
    return 0
