"""`awbench list`: what exists."""

from __future__ import annotations

import argparse
import operator
from typing import Any

import awbench
from awbench.cli.common import print_json, print_table, show
from awbench.cli.logs import log
from awbench.cli.options import add_options
from awbench.modules import INPUT, modules
from awbench.variants import Variant, list_variants, parse_variants


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "list",
        help="list the variants",
        description="List every variant, one per line. Names are [convolution_][attention_]<architecture>, and\n"
        "faster_rcnn_<backbone>_fpn for detectors. --modules lists what the first two may be.\n\n"
        "  awbench list 'aw_*'\n"
        "  awbench list '*resnet50' --counts\n"
        "  awbench list --modules --module mine:Mine",
    )
    parser.add_argument("variant", nargs="*", help="names, or patterns such as 'aw_*' (default: all)")
    parser.add_argument("--modules", action="store_true", help="the attention modules instead of the variants")
    parser.add_argument("--counts", action="store_true", help="with their locked parameters and multiply-accumulates")
    parser.add_argument("--task", choices=("classification", "detection"), help="of one task only")
    add_options(parser, "--json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.modules:
        return _list_modules(args.json)
    variants = parse_variants(args.variant, args.task) if args.variant else list_variants(args.task)
    if args.counts:
        _list_counts(variants, args.json)
    elif args.json:
        print_json([_describe(variant) for variant in variants])
    else:
        show("\n".join(variant.name for variant in variants))
    return 0


def _list_counts(variants: list[Variant], as_json: bool) -> None:
    """Of the variants that have locked counts; the others are named."""
    from awbench.gate.locked import LockedCounts, load_locked
    from awbench.report.table import Column, Table

    names = {variant.name: place for place, variant in enumerate(variants)}
    rows = [row for row in load_locked() if row.variant in names and row.stride_placement == "v1.5"]
    rows.sort(key=lambda row: names[row.variant])
    without = [name for name in names if name not in {row.variant for row in rows}]
    if without:
        log(f"no locked counts: {', '.join(without)}; 'awbench complexity NAME' counts them")
    columns: tuple[Column[LockedCounts], ...] = (
        Column("variant", lambda row: row.variant),
        Column("engine", lambda row: row.engine),
        Column("image size", lambda row: row.image_size, str, key="image_size", right=True),
        Column("params", lambda row: row.params, ","),
        Column("GMACs", lambda row: row.macs / 1e9, ".4f", key=""),
        Column.exact("macs", lambda row: row.macs),
        Column("kernel modulation (M)", lambda row: row.aw_kernel_forming / 1e6, ".3f", key=""),
        Column.exact("aw_kernel_forming", lambda row: row.aw_kernel_forming),
        Column("activations (M)", lambda row: row.activations / 1e6, ".3f", key=""),
        Column.exact("activations", lambda row: row.activations),
    )
    note = "Locked: what this version counts, stride placement v1.5; 'awbench complexity NAME' counts again."
    print_table(Table("Variants", columns, rows, (note,)), "json" if as_json else None)


def _list_modules(as_json: bool) -> int:
    from awbench.report.table import Column, Table

    known = modules().values()
    rows = [
        {
            "name": module.name,
            "title": module.title,
            "paper": module.paper,
            "slot": module.slot,
            "class": module.path,
            "version": module.inputs.get(f"{INPUT}{module.name}_version", f"awbench {awbench.__version__}"),
        }
        for module in known
    ]
    if as_json:
        print_json(rows)
    else:
        columns = [Column(name, operator.itemgetter(name)) for name in rows[0]]
        print_table(Table("Attention modules", columns, rows))
    return 0


def _describe(variant: Variant) -> dict[str, Any]:
    return {
        "variant": variant.name,
        "task": variant.task,
        "architecture": variant.architecture_name,
        "depth": variant.architecture.depth,
        "family": variant.architecture.family,
        "attention": variant.attention,
        "attention_paper": modules()[variant.attention].paper if variant.attention else None,
        "convolution": variant.convolution,
        "aw": variant.aw,
        "plain": variant.plain,
        "backbone": variant.backbone,
    }
