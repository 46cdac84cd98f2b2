"""`awbench complexity`: count, record, print."""

from __future__ import annotations

import argparse
from typing import Any

from awbench.cli.common import (
    add_json,
    add_model_options,
    add_results,
    aw_options_help,
    model_options,
    print_json,
    progress,
    say,
)
from awbench.records import Record, RecordStore
from awbench.variants import list_variants, parse_variant


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "complexity",
        help="count parameters, multiply-accumulates and activations exactly",
        description="Count variants exactly, without running them: parameters, multiply-accumulates of\n"
        "convolutions and linear layers, multiplications that form AK, activations; per image.\n"
        "Each count is kept as a record and found again, not repeated.\n\n"
        "  awbench complexity                                 the whole classification grid\n"
        "  awbench complexity aw_resnet50 --cross-check       fvcore counts too, and must agree\n"
        "  awbench complexity aw_resnet50 --aw-option expansion=1",
        epilog=aw_options_help(),
    )
    parser.add_argument("variant", nargs="*", help="names from 'awbench list' (default: all classification variants)")
    parser.add_argument(
        "--image-size", type=int, metavar="N", help="pixels a side (default: 224, or 32 for CIFAR-style)"
    )
    parser.add_argument("--cross-check", action="store_true", help="count with fvcore too and demand equality")
    parser.add_argument("--force", action="store_true", help="count again even if a record with the same inputs exists")
    add_model_options(parser)
    add_results(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    variants = [parse_variant(name, "classification") for name in args.variant] or list_variants("classification")
    options = model_options(args, variants)
    store = RecordStore(args.results)
    from awbench.recording import record_complexity

    records, measured = [], 0
    for variant in progress(variants, "counting", "network"):
        record, new = record_complexity(store, variant, options, args.image_size, args.cross_check, args.force)
        records.append(record)
        measured += new
    say(f"{measured} counted, {len(records) - measured} found in {args.results}")
    if args.json:
        print_json([complexity_object(record) for record in records])
    else:
        print(_table(records))
    return 0


def complexity_object(record: Record) -> dict[str, Any]:
    """The JSON object of one complexity record."""
    counters = {
        name.partition(".")[2]: quantity.value
        for name, quantity in record.values.items()
        if name.startswith("macs_by_counter.")
    }
    return {
        "variant": record.variant,
        "stride_placement": record.options["stride_placement"],
        "image_size": record.settings["image_size"],
        "params": record.value("params"),
        "macs": record.value("macs"),
        "macs_by_counter": counters,
        "aw_kernel_forming": record.value("aw_kernel_forming"),
        "activations": record.value("activations"),
        "options": record.options,
    }


def _table(records: list[Record]) -> str:
    from tabulate import tabulate

    rows = [
        (
            record.variant,
            record.options["stride_placement"],
            record.settings["image_size"],
            f"{record.value('params'):,}",
            f"{record.value('macs'):,}",
            f"{record.value('aw_kernel_forming'):,}",
            f"{record.value('activations'):,}",
        )
        for record in records
    ]
    headers = ("variant", "stride", "image size", "params", "MACs", "kernel forming", "activations")
    alignment = ("left", "left", *["right"] * 5)
    return tabulate(rows, headers, tablefmt="github", colalign=alignment, disable_numparse=True)
