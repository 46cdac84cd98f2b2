"""`awbench regress`: is head slower than base?"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from awbench.cli.common import OF_THE_TIME, log, print_json, show, show_progress
from awbench.cli.options import add_options
from awbench.errors import UserError

if TYPE_CHECKING:
    from awbench.regress.comparison import Change, Comparison, ComparisonGoal
    from awbench.regress.process import SuiteRun


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "regress",
        help="find out whether a change made networks slower",
        description="Put two versions of the git repository you are in side by side, time the same suite against\n"
        "both, here and now, in interleaved pairs of fresh processes, and decide from confidence intervals:\n"
        "slower or faster by x %, no difference larger than y %, or not measured finely enough.\n\n"
        "  awbench regress --base main                        what is not committed yet, against main\n"
        "  awbench regress --base HEAD~1 --head HEAD --threads 1\n"
        "  awbench regress --base main --variants aw_resnet18 --width 2 --budget 120\n"
        "  awbench regress --base origin/main --markdown change.md     for a comment on a pull request\n"
        "  awbench regress --base v1.0 --suite my_suite.py    your own WORKLOADS, see awbench/regress/suite.py",
        epilog="How it decides: a workload is slower where the whole interval of head / base lies above 1 + ignore,\n"
        "faster where it lies below 1 - ignore. Otherwise, where the interval is as narrow as --width asks, there is\n"
        "no difference larger than its farther end; where not, it was not measured finely enough: give it a larger\n"
        "--budget, a quieter machine, or --threads 1. All intervals together hold at 95 % (Bonferroni).\n"
        "With glibc the processes keep the memory that they free, which it else gives back to the system and gets\n"
        "anew, in each process differently often; MALLOC_TRIM_THRESHOLD_ and MALLOC_MMAP_MAX_ may say otherwise.\n\n"
        "Exit codes: 0 nothing slower; 1 something is slower; 2 the input is at fault; 3 nothing is slower as far\n"
        "as measured, but something was not measured finely enough.",
    )
    parser.add_argument("--base", required=True, metavar="REF", help="commit to compare with, e.g. main or HEAD~1")
    parser.add_argument("--head", metavar="REF", help="commit in question (default: the working tree as it is now)")
    parser.add_argument("--suite", type=Path, metavar="FILE", help="Python file with WORKLOADS (default: networks)")
    parser.add_argument("--variants", nargs="+", metavar="NAME", help="networks of the default suite")
    parser.add_argument(
        "--width",
        type=float,
        default=4.0,
        metavar="PERCENT",
        help="widest interval, end to end (default: 4, about 2 either way)",
    )
    parser.add_argument(
        "--ignore", type=float, default=1.0, metavar="PERCENT", help="differences nobody would act on (default: 1)"
    )
    parser.add_argument("--budget", type=float, default=600.0, metavar="SECONDS", help="at most about so long (600)")
    add_options(parser, "--threads", help="threads of each process (default: as libraries choose)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write a table for a pull request too")
    add_options(parser, "--json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    suite_run = _job(args)
    from awbench.regress.comparison import ComparisonGoal, Decision, compare
    from awbench.regress.trees import side_by_side

    goal = ComparisonGoal(width=args.width / 100, ignore=args.ignore / 100, budget=args.budget)
    with side_by_side(args.base, args.head) as (base, head):
        log(f"base {base}, head {head}: the first pair of processes warms up and is not counted")
        with _progress(goal) as on_progress:
            comparison = compare(base, head, suite_run, goal, on_progress)
    if args.json:
        print_json(comparison_object(comparison))
    else:
        show(_text(comparison))
    if args.markdown:
        from awbench.records.atomic import write_text

        write_text(args.markdown, markdown(comparison))
        log(f"wrote {args.markdown}")
    if comparison.of(Decision.SLOWER):
        return 1
    return 3 if comparison.of(Decision.UNCLEAR) else 0


def _job(args: argparse.Namespace) -> SuiteRun:
    """What to run, when all options make sense; the output's place is looked at now, not after minutes."""
    for option, value, lowest in (("--width", args.width, 0.0), ("--budget", args.budget, 0.0)):
        if not (math.isfinite(value) and value > lowest):
            raise UserError(f"{option} {value:g} must be a finite number above {lowest:g}")
    if not (math.isfinite(args.ignore) and 0 <= args.ignore < 100):
        raise UserError(f"--ignore {args.ignore:g} must be at least 0 and below 100 percent")
    if args.threads is not None and args.threads < 1:
        raise UserError(f"--threads {args.threads} must be at least 1")
    if args.suite and not args.suite.is_file():
        raise UserError(f"--suite {args.suite} is not a file; give a Python file that defines WORKLOADS")
    if args.suite and args.variants:
        raise UserError(f"--variants concerns the default suite; {args.suite} has workloads of its own")
    if args.markdown and (args.markdown.is_dir() or not args.markdown.absolute().parent.is_dir()):
        raise UserError(f"--markdown {args.markdown} is not the name of a file in a folder that exists")
    if args.device == "cuda":
        from awbench.training.distributed import choose_device

        choose_device(args.device)
    from awbench.regress.process import DEFAULT_SUITE, SuiteRun

    environment = {"AWBENCH_REGRESS_DEVICE": args.device}
    if args.variants:
        environment["AWBENCH_REGRESS_VARIANTS"] = " ".join(args.variants)
    return SuiteRun((args.suite or DEFAULT_SUITE).resolve(), args.threads, environment)


@contextmanager
def _progress(goal: ComparisonGoal) -> Iterator[Callable[[int, float, float], None]]:
    """Show the number of pairs, and how well the worst ratio is known."""
    with show_progress("comparing", OF_THE_TIME) as shown:

        def on_progress(pairs: int, widest: float, seconds: float) -> None:
            interval = f"intervals {_percent(widest)} wide" if math.isfinite(widest) else "no intervals yet"
            shown.show(seconds, goal.budget, f"{pairs} pairs, {interval}, asked {_percent(goal.width)}")

        yield on_progress


def comparison_object(comparison: Comparison) -> dict[str, Any]:
    """The JSON object: where it was measured and how, then the workloads."""
    base, head, suite_run, goal = comparison.base, comparison.head, comparison.suite_run, comparison.goal
    return {
        "base": {"ref": base.ref, "commit": base.commit},
        "head": {"ref": head.ref, "commit": head.commit},
        "suite": str(suite_run.suite),
        "threads": suite_run.threads,
        "level": goal.level,
        "width": goal.width,
        "ignore": goal.ignore,
        "seconds": comparison.seconds,
        "notes": _notes(comparison),
        "workloads": [
            {
                "workload": change.workload,
                "base_ms": change.base_ms,
                "head_ms": change.head_ms,
                "ratio": change.ratio.value,
                "ratio_ci": _finite_interval(change),
                "level": change.level,
                "pairs": change.pairs,
                "decision": change.decision.value,
            }
            for change in comparison.changes
        ],
    }


def _finite_interval(change: Change) -> list[float] | None:
    ends = [change.ratio.low, change.ratio.high]
    return ends if all(map(math.isfinite, ends)) else None


def sentence(change: Change) -> str:
    """The decision as a person reads it."""
    from awbench.regress.comparison import Decision

    low, value, high = change.ratio.low - 1, change.ratio.value - 1, change.ratio.high - 1
    if change.decision is Decision.SLOWER:
        return f"slower by {_percent(value)} ({100 * low:.1f} to {_percent(high)})"
    if change.decision is Decision.FASTER:
        return f"faster by {_percent(-value)} ({-100 * high:.1f} to {_percent(-low)})"
    if change.decision is Decision.SAME:
        return f"no difference larger than {_percent(change.bound)}"
    if not math.isfinite(high):
        return f"not measured finely enough: too few pairs ({change.pairs})"
    return f"not measured finely enough: between {100 * low:+.1f} % and {100 * high:+.1f} %"


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f} %"


def _notes(comparison: Comparison) -> list[str]:
    """What a reader must know of the numbers."""
    first = comparison.changes[0]
    each = f", {100 * first.level:.4g} % each" if len(comparison.changes) > 1 else ""
    notes = [
        f"base: {comparison.base}; head: {comparison.head}",
        f"{first.pairs} pairs of processes in {comparison.seconds:.0f} s; the intervals hold together at "
        f"{100 * comparison.goal.level:g} %{each}",
    ]
    for change in comparison.changes:
        if change.is_disturbed:
            spread = _percent(change.spread)
            notes.append(f"{change.workload}: the pairs' ratios vary by {spread}: other load on this machine?")
    return notes


def _text(comparison: Comparison) -> str:
    from tabulate import tabulate

    rows = [
        (change.workload, f"{change.base_ms:.4g}", "->", f"{change.head_ms:.4g} ms", sentence(change))
        for change in comparison.changes
    ]
    alignment = ("left", "right", "left", "right", "left")
    lines = tabulate(rows, tablefmt="plain", colalign=alignment, disable_numparse=True)
    return "\n".join([lines, *_notes(comparison)])


def markdown(comparison: Comparison) -> str:
    """A table for a comment on a pull request."""
    from awbench.regress.comparison import Decision
    from awbench.report.formats import render
    from awbench.report.table import Column, Table

    counts = [f"{len(found)} {kind.value}" for kind in Decision if (found := comparison.of(kind))]
    table = Table(
        title="latency",
        fields=(
            Column("workload", lambda change: change.workload),
            Column("base (ms)", lambda change: change.base_ms, ".4g"),
            Column("head (ms)", lambda change: change.head_ms, ".4g"),
            Column("decision", sentence),
        ),
        values=comparison.changes,
        notes=tuple(_notes(comparison)),
    )
    return f"**Latency: {', '.join(counts)}**\n\n{render(table, 'github')}"
