"""`awbench check`: the gate."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awbench.cli.common import log, print_json, show
from awbench.cli.grid import COUNTING_MINUTES, count_detectors, count_grid
from awbench.cli.latency import timing_progress
from awbench.cli.options import add_options, references_of, results_to_read
from awbench.errors import UserError, suggestion
from awbench.recipes.defaults import ENGINES
from awbench.records import RecordStore
from awbench.text import plural
from awbench.variants import parse_variant

if TYPE_CHECKING:
    from awbench.gate.bands import LatencyBand

_EXIT_CODES = {"pass": 0, "fail": 1, "not measured": 3}
_BUDGET_SECONDS, _WIDTH = 60.0, 0.05  # of each group of latencies: bands are far wider than that


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "check",
        help="the gate: compare counts, accuracy, AP and latency ratios with their references",
        description="Compare everything with its reference. Parameters, multiply-accumulates and activations are\n"
        "counted and must equal the locked ones. Records of accuracy and AP must agree with published numbers,\n"
        "and proxy runs with locked ones. Latency is judged as a ratio to the plain network within one run,\n"
        "never as a time.\n\n"
        "  awbench check                                  counts, and the values in the records\n"
        "  awbench check --measure                        measure the latency ratios that have a band first\n"
        "  awbench check --require accuracy detection     fail where a record is missing\n"
        "  awbench check --junit check.xml --markdown check.md\n\n"
        "Exit code 0: everything that was measured passes. 1: something fails. 2: the input is at fault.\n"
        "3: something that is required was not measured. Counts are required wherever they can be counted.",
    )
    parser.add_argument(
        "--require", nargs="+", default=[], metavar="KIND", help="complexity, accuracy, detection, proxy, latency"
    )
    parser.add_argument("--measure", action="store_true", help="measure latency ratios that have a band and no record")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a summary for a pull request")
    add_options(parser, "--results", "--references", "--only-references", "--json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from awbench.detection.engine import has_detectron2
    from awbench.gate import bands, checks, proxies
    from awbench.gate.locked import load_locked
    from awbench.records.atomic import write_text
    from awbench.report.checks import to_junit, to_markdown, to_object, to_text

    for kind in args.require:
        if kind not in checks.KINDS:
            hint = suggestion(kind, checks.KINDS)
            raise UserError(f"--require {kind} is not a kind of check{hint} Known: {', '.join(checks.KINDS)}.")
    locked, locked_runs, latency_bands = load_locked(), proxies.load_locked_runs(), bands.load_bands()
    references, store = references_of(args), RecordStore(args.results if args.measure else results_to_read(args))
    log(
        f"first {'latency ratios that have a band are measured, then ' * args.measure}every network is counted: about "
        f"{plural(COUNTING_MINUTES, 'minute')} on two idle cores, less for what is in {store.results}; then counts and "
        "records are compared with their references. Nothing is trained."
    )
    if args.measure:
        measure_bands(store, latency_bands)
    engines = [engine for engine in ENGINES if engine != "detectron2" or has_detectron2()]
    counted = [*count_grid(store, cross_check=False), *count_detectors(store)]
    records = store.read()
    found = [
        *checks.check_complexity(counted, locked, engines),
        *checks.check_published(records, references),
        *proxies.check_proxies(records, locked_runs),
        *bands.check_latency(records, latency_bands, device_name()),
    ]
    code = _EXIT_CODES[checks.gate_status(found, args.require)]
    if args.junit:
        write_text(args.junit, to_junit(found, args.require))
    if args.markdown:
        write_text(args.markdown, to_markdown(found, args.require, code))
    if args.json:
        print_json(to_object(found, args.require, code))
    else:
        show(to_text(found, args.require))
    return code


def device_name() -> str:
    """What bands call the device that is measured here: "cpu", or the GPU's name."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def measure_bands(store: RecordStore, latency_bands: Sequence[LatencyBand]) -> None:
    """Measure the networks that have a band on this device and no record here that passes."""
    from awbench.experiments.measurements import record_latency
    from awbench.gate.bands import band_name, check_latency
    from awbench.gate.checks import PASS
    from awbench.measure.latency import LatencySettings, TimedNetwork
    from awbench.measure.timing import TimingGoal

    here = device_name()
    device = "cpu" if here == "cpu" else "cuda"
    goal = TimingGoal(_WIDTH, _BUDGET_SECONDS)

    def group_of(band: LatencyBand) -> tuple[int, str, str, str]:
        """Of networks that are timed together."""
        return band.batch_size, band.dtype, band.layout, parse_variant(band.variant).task

    bands_here = [band for band in latency_bands if band.device == here]
    met = {check.name for check in check_latency(store.read(), bands_here, here) if check.status == PASS}
    unmet = sorted((band for band in bands_here if band_name(band) not in met), key=group_of)
    for (batch, dtype, layout, _), group in groupby(unmet, key=group_of):
        networks = [TimedNetwork(parse_variant(band.variant)) for band in group]
        settings = LatencySettings(device, batch, dtype, layout)
        with timing_progress(networks, goal) as on_progress:
            record_latency(store, networks, settings, goal, on_progress=on_progress)
        log(f"latency of {len(networks)} networks measured")
    if met:
        log(f"latency of {len(met)} networks found in {store.results}")
