"""`awbench import`: runs that were trained elsewhere, as records that are marked so."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from awbench.cli.common import log, print_json, print_table
from awbench.cli.options import add_options
from awbench.errors import UserError
from awbench.records import RecordStore
from awbench.reference.metrics import METRICS
from awbench.reference.runs_file import COLUMNS, METRIC_NAMES, NEEDED, read_runs

_GIVEN = {
    "variant": "a name from 'awbench list'",
    "network": "instead: what the source calls a network that is not built here",
    "dataset": "e.g. imagenet",
    "recipe": "how it was trained, in a word",
    "recipe-sha256": "of the recipe's file",
    "seed": "of the run",
    "source": "where it is from, in words or as an address",
}


_SAMPLE = """\
  variant,dataset,recipe,seed,metric,value,source
  resnet50,imagenet,our-100-epochs,0,top1,76.30,our cluster
  resnet50,imagenet,our-100-epochs,1,top1,76.42,our cluster
  aw_resnet50,imagenet,our-100-epochs,0,top1,77.10,our cluster
  aw_resnet50,imagenet,our-100-epochs,1,top1,77.31,our cluster
"""


def _columns() -> str:
    """The columns of a file: which must be there, and what they hold."""
    units = dict[str, list[str]]()
    for metric in METRIC_NAMES:
        units.setdefault(next(iter(METRICS[metric].units)), []).append(metric)
    optional = [name for name in COLUMNS if name not in (*NEEDED, "variant", "network", "unit")]
    lines = [
        f"required: {', '.join(NEEDED)}; and variant, a name from 'awbench list',",
        "          or network, what the source calls another one (compared with nothing)",
        f"optional: {', '.join(optional)}, unit",
        *(
            f"metric:   {', '.join(metrics)}, in {unit}{' or %' * (unit == 'percent')}"
            for unit, metrics in units.items()
        ),
    ]
    return "".join(f"  {line}\n" for line in lines)


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "import",
        help="runs that were trained elsewhere, judged among themselves",
        description="Read runs that were trained elsewhere, and keep a record of each that says so. They are judged\n"
        "among themselves ('awbench table imported'); they are evidence for no claim, and count in a study that\n"
        "asks no claim only where its file names their source and recipe (docs/your-module.md in the source).\n\n"
        "A CSV file has a row a number, a JSON file a list of objects with the same keys:\n\n"
        f"{_columns()}\n"
        f"{_SAMPLE}\n"
        "Read too: timm's summary.csv (the last epoch counts), Detectron2's metrics.json and results,\n"
        "pycocotools' stats and what it prints. What a file does not say is given by options, for all its rows.\n\n"
        "  awbench import runs.csv\n"
        "  awbench import summary.csv --variant resnet50 --dataset imagenet --recipe timm-a1 --seed 0 --source URL\n"
        "  awbench import metrics.json --variant faster_rcnn_resnet50_fpn --dataset coco --recipe 1x --seed 0 \\\n"
        "      --source URL",
    )
    parser.add_argument("file", type=Path, help="CSV, JSON, or what timm, Detectron2 or pycocotools write")
    for name, text in _GIVEN.items():
        parser.add_argument(f"--{name}", metavar="TEXT", help=f"for all rows: {text}")
    add_options(parser, "--results", "--json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from awbench.experiments.imports import import_runs
    from awbench.report.imported import imported_table

    columns = [name.replace("-", "_") for name in _GIVEN]
    given = {name: getattr(args, name) for name in columns if getattr(args, name) is not None}
    if "variant" in given and "network" in given:
        raise UserError("give one of --variant and --network")
    store = RecordStore(args.results)
    runs = read_runs(args.file, given)
    added = import_runs(runs, store)
    log(f"{added} numbers imported, {len(runs) - added} found in {args.results}")
    if args.json:
        print_json({"imported": added, "found": len(runs) - added})
    else:
        print_table(imported_table(store.read()))
    return 0
