"""The command line: parse, call, print. Exit codes live here.

0 holds    1 a number is off or regressed    2 the input or the machine is at fault    3 not measured
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence

import awbench
from awbench.cli import (
    aw_speed,
    check,
    complexity,
    eval,
    latency,
    list_command,
    lock,
    plan,
    regress,
    report,
    reproduce,
    sweep,
    table,
    train,
)
from awbench.cli.common import Parser, say
from awbench.errors import TRY_AGAIN, CounterDisagreement, Preempted, UserError

COMMANDS = (
    list_command, complexity, latency, aw_speed, train, eval, sweep, table, plan, report, reproduce, check, regress,
    lock,
)  # fmt: skip

_DESCRIPTION = """\
Benchmark and reproducibility suite for AW-convolution (arXiv 2108.08205): attention on the
weights of a convolution, beside SE, CBAM and others.

  awbench list                     what exists
  awbench complexity aw_resnet50   count parameters and multiply-accumulates
  awbench latency aw_resnet50      time it beside the plain network
  awbench train aw_resnet20        train on the embedded digits, record the accuracy
  awbench reproduce                measure what this machine can, compare, write tables
  awbench table complexity         published numbers beside measured ones, from records
  awbench plan                     runs, GPU-hours and commands that answer the open claims
  awbench report                   one page: verdicts, pictures, tables
  awbench check                    hold everything to what it must be
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: its words; None for the process's own.

    Returns:
        The exit code.
    """
    args = _parser().parse_args(argv)
    try:
        return int(args.run(args))
    except UserError as error:
        say(f"awbench: {' '.join(str(error).split())}")
        return 2
    except CounterDisagreement as error:
        say(f"awbench: {error}")
        return 1
    except Preempted as stop:
        say(f"awbench: {stop}; later, run the same command with --resume")
        return TRY_AGAIN
    except BrokenPipeError:  # the reader of stdout left, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        say(f"awbench: {error.filename or 'the system'}: {error.strerror or error}; every finished record is intact")
        return 2
    except KeyboardInterrupt:
        say("awbench: interrupted; every finished record is kept, the same command goes on from there")
        return 130


def entry_point() -> None:
    """The `awbench` script. A defect of ours is neither "off" nor anybody's input: EX_SOFTWARE of sysexits.h."""
    try:
        code = main()
    except Exception:
        traceback.print_exc()
        code = 70
    sys.exit(code)


def _parser() -> Parser:
    parser = Parser(prog="awbench", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"awbench {awbench.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser
