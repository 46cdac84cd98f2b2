"""`awbench complexity`: count, record, print."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from awbench.cli.common import log, print_json, print_table, progress
from awbench.cli.options import MODEL, add_options, aw_options_help, model_options
from awbench.errors import UserError
from awbench.records import Record, RecordStore
from awbench.variants import ModelOptions, Variant, list_variants, parse_variants

if TYPE_CHECKING:
    from awbench.report.table import Table


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "complexity",
        help="count parameters, multiply-accumulates and activations exactly",
        description="Count variants exactly, without running them: parameters, multiply-accumulates of\n"
        "convolutions and linear layers, multiplications that form AK or scale activations, which\n"
        "are not among the former, and activations; per image.\n"
        "Each count is kept as a record and found again, not repeated.\n\n"
        "  awbench complexity                                 the whole classification grid\n"
        "  awbench complexity aw_resnet50 --cross-check       fvcore counts too, and must agree\n"
        "  awbench complexity aw_resnet50 --aw-option expansion=1\n"
        "  awbench complexity faster_rcnn_aw_resnet50_fpn --engine torchvision --image-size 800x1088",
        epilog=aw_options_help(),
    )
    parser.add_argument("variant", nargs="*", help="names from 'awbench list', or patterns (default: all classifiers)")
    parser.add_argument(
        "--image-size", metavar="N", help="pixels a side (default: 224, or 32 for CIFAR-style); detectors: 800x1088"
    )
    parser.add_argument("--proposals", type=int, metavar="N", help="regions that a detector's box head sees (1000)")
    parser.add_argument("--cross-check", action="store_true", help="count with fvcore too and require equality")
    parser.add_argument("--force", action="store_true", help="count again even if a record with the same inputs exists")
    add_options(parser, "--engine", *MODEL, "--results", "--json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    variants = parse_variants(args.variant) or list_variants("classification")
    options = model_options(args, variants)
    store = RecordStore(args.results)
    counters = {"classification": _classifier_counter(args), "detection": _detector_counter(args)}
    if (args.engine or args.proposals) and not any(variant.task == "detection" for variant in variants):
        raise UserError("--engine and --proposals concern no variant named: none is a detector")

    records, measured = [], 0
    for variant in progress(variants, "counting", "network"):
        record, new = counters[variant.task](store, variant, options)
        records.append(record)
        measured += new
    log(f"{measured} counted, {len(records) - measured} found in {args.results}")
    if args.json:
        print_json([complexity_object(record) for record in records])
    else:
        print_table(_table(records))
    return 0


Counter = Callable[[RecordStore, Variant, ModelOptions], tuple[Record, bool]]


def _classifier_counter(args: argparse.Namespace) -> Counter:
    def count(store: RecordStore, variant: Variant, options: ModelOptions) -> tuple[Record, bool]:
        from awbench.experiments.measurements import record_complexity

        if args.image_size and "x" in args.image_size:
            raise UserError(f"--image-size {args.image_size}: {variant.name} is counted on square images, e.g. 224")
        size = _pixels(args.image_size, args.image_size) if args.image_size else None
        return record_complexity(store, variant, options, size, args.cross_check, args.force)

    return count


def _detector_counter(args: argparse.Namespace) -> Counter:
    def count(store: RecordStore, variant: Variant, options: ModelOptions) -> tuple[Record, bool]:
        from awbench.detection.complexity import DetectorInput
        from awbench.detection.engine import find_engine
        from awbench.experiments.measurements import record_detector_complexity

        at = DetectorInput()
        if args.image_size:
            height, _, width = args.image_size.partition("x")
            at = replace(at, height=_pixels(height, args.image_size), width=_pixels(width or height, args.image_size))
        if args.proposals is not None:
            at = replace(at, proposals=args.proposals)
        engine = find_engine(args.engine).name
        return record_detector_complexity(store, variant, options, engine, at, args.cross_check, args.force)

    return count


def _pixels(text: str, given: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UserError(f"--image-size {given!r} is not a size; use e.g. 224, or 800x1088 for a detector") from None


def complexity_object(record: Record) -> dict[str, Any]:
    """The JSON object of one complexity record."""
    settings = record.settings.json_object
    of_detectors: dict[str, Any] = {name: settings[name] for name in ("engine", "proposals") if name in settings}
    if "trainable_params" in record.values:
        of_detectors["trainable_params"] = record.value("trainable_params")
    return {
        "variant": record.variant,
        **of_detectors,
        "stride_placement": record.options["stride_placement"],
        "image_size": settings["image_size"],
        "params": record.value("params"),
        "macs": record.value("macs"),
        "macs_by_counter": macs_by_counter(record),
        "aw_kernel_forming": record.value("aw_kernel_forming"),
        "attention_scaling": record.value("attention_scaling"),
        "activations": record.value("activations"),
        "options": record.options,
    }


def macs_by_counter(record: Record) -> dict[str, int]:
    """Counter -> what it counted; torch alone, or after a cross-check fvcore too."""
    return {
        name.partition(".")[2]: int(quantity.value)
        for name, quantity in record.values.items()
        if name.startswith("macs_by_counter.")
    }


def _cross_checks(records: list[Record]) -> list[str]:
    """That counters agree, a sentence for each network that several have counted; another end is no record."""
    counted = [(record.variant, macs_by_counter(record)) for record in records]
    return [
        f"{variant}: {' and '.join(sorted(counters))} agree, layer by layer: {max(counters.values()):,} MACs."
        for variant, counters in counted
        if len(counters) > 1 and len(set(counters.values())) == 1
    ]


def _shown_size(record: Record) -> str:
    """E.g. "224", or "800x1088, 1000 proposals, detectron2"."""
    settings = record.settings.json_object
    size = settings["image_size"]
    if not isinstance(size, list):
        return str(size)
    return f"{size[0]}x{size[1]}, {settings['proposals']} proposals, {settings['engine']}"


def _table(records: list[Record]) -> Table:
    from awbench.report.table import Column, Table

    def count(name: str, heading: str) -> Column[Record]:
        return Column(heading, lambda record: record.value(name), ",")

    columns: tuple[Column[Record], ...] = (
        Column("variant", lambda record: record.variant),
        Column("stride", lambda record: record.options["stride_placement"]),
        Column("image size", _shown_size),
        count("params", "params"),
        count("macs", "MACs"),
        count("aw_kernel_forming", "kernel modulation"),
        count("attention_scaling", "scaling"),
        count("activations", "activations"),
    )
    return Table("Counts for one image", columns, records, tuple(_cross_checks(records)))
