"""The command line: parse, call, print. Exit codes live here.

0 pass    1 a number fails or regressed    2 the input or the machine is at fault    3 not measured
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from types import FrameType

import awbench
from awbench.cli import (
    aw_speed,
    check,
    complexity,
    eval,
    import_command,
    latency,
    list_command,
    lock,
    plan,
    regress,
    report,
    reproduce,
    study,
    sweep,
    table,
    train,
)
from awbench.cli.common import Parser, stdout_for_answers
from awbench.cli.completion import COMPLETERS, NEEDS, complete
from awbench.cli.logs import log, set_up_logging
from awbench.errors import TRY_AGAIN, CounterDisagreement, Preempted, Stopped, UserError
from awbench.experiments.ending import INTERRUPTED, Ending, write_ending
from awbench.modules import VARIABLE, faults_named, registered
from awbench.system import on_stop_signals, said_here, spin_briefly

COMMANDS = (
    list_command, complexity, latency, aw_speed, train, eval, sweep, study, import_command, table, plan, report,
    reproduce, check, regress, lock,
)  # fmt: skip

# Every variable that is read, for people; docs/command-line.md has the same.
ENVIRONMENT = {
    "AWBENCH_MODULES": "attention modules from outside, as for --module, with commas between them",
    "AWBENCH_IMAGENET": "folder of ImageNet (train/, val/), for reproduce and study run",
    "AWBENCH_COCO": "folder of COCO (annotations/, train2017/, val2017/), for the same",
    "AWBENCH_AW_STRATEGY": "how AW-convolutions are executed instead of auto, e.g. grouped",
    "AWBENCH_CACHE": "folder of compiled kernels and tuned choices (default: ~/.cache/awbench)",
    "OMP_WAIT_POLICY": "how threads on a CPU wait for work; unless set, train and eval spin little (10,000 times)",
    "CC": "C compiler of the CPU kernels (default: cc)",
    "NO_COLOR": "no colours on a terminal",
}

_DESCRIPTION = f"""\
Benchmark and reproducibility suite for AW-convolution (arXiv 2108.08205): attention on the
weights of a convolution, beside SE, CBAM and others.

  awbench list                     what exists
  awbench complexity aw_resnet50   count parameters and multiply-accumulates
  awbench latency aw_resnet50      time it beside the plain network
  awbench train aw_resnet20        train on the embedded digits, record the accuracy
  awbench study run digits         answer a question by a design decided before
  awbench reproduce                measure what this machine can, compare, write tables
  awbench table complexity         published numbers beside measured ones, from records
  awbench plan                     runs, GPU-hours and commands that answer the open claims
  awbench report                   one page: verdicts, figures, tables
  awbench check                    compare everything with its reference

Exit codes: 0 pass; 1 a number fails or regressed; 2 the input or the machine is at fault; 3 not measured, or
nothing usable; 75 stopped and saved, the same command with --resume goes on.

Names, options and values are completed in bash and zsh: {NEEDS}, then
  eval "$(register-python-argcomplete awbench)"     also in ~/.bashrc or ~/.zshrc

Environment:
""" + "".join(f"  {name:20} {text}\n" for name, text in ENVIRONMENT.items())


_MODULE = f"an attention module from outside (docs/your-module.md in the source); also in the variable {VARIABLE}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: after `awbench`; None for the process's own.

    Returns:
        The exit code.
    """
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:  # a shell asks, see docs/command-line.md
        complete(parser)
    args = parser.parse_args(argv)
    set_up_logging(args.verbosity)
    if args.run in (train.run, eval.run):  # not where anything is timed; and before a module from outside needs torch
        spin_briefly()
    kept = "; every finished record is kept, the same command goes on from there" if "results" in args else ""
    try:
        with _stopped_by_signals(), registered(args.module), faults_named():
            with stdout_for_answers():
                code, message = int(args.run(args)), ""
            sys.stdout.flush()  # a full disk is said here, not by the interpreter's end
    except UserError as error:
        code, message = 2, said_here(" ".join(str(error).split()))
    except CounterDisagreement as error:
        code, message = 1, str(error)
    except Preempted as stop:
        code, message = (INTERRUPTED if stop.by == signal.SIGINT else TRY_AGAIN), str(stop)
    except Stopped as stop:
        code, message = TRY_AGAIN, f"{stop}{kept}"
    except BrokenPipeError:  # the reader of stdout left, as `head` does
        _drop_stdout()
        code, message = 0, ""
    except OSError as error:
        try:
            sys.stdout.flush()
        except OSError:
            _drop_stdout()
        code = 2
        message = f"{error.filename or 'the system'}: {error.strerror or error}; every finished record is intact"
    except KeyboardInterrupt:
        code, message = INTERRUPTED, f"interrupted{kept}"
    except Exception as error:  # a defect of ours, not of the input: EX_SOFTWARE of sysexits.h
        traceback.print_exc()
        write_ending(Ending(70, f"{type(error).__name__}: {error}"))
        raise
    if message:
        log(f"awbench: {message}", logging.ERROR)
    if code:  # of success a training's main process says whether it made the record; the others must not be first
        write_ending(Ending(code, message))
    return code


def _drop_stdout() -> None:
    """What was not written never will be."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextlib.contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """End as after Ctrl-C on what clusters, containers and closed terminals send; a training has better to do."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Stopped(signum)

    # Python's own handler of Ctrl-C does well; nohup's hang-up stays ignored.
    with on_stop_signals(stop, replaces=lambda before: before == signal.SIG_DFL):
        yield


def entry_point() -> None:
    """The `awbench` script."""
    for stream in (sys.stdout, sys.stderr):  # a terminal of another encoding shows codes
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main()
    except Exception:  # printed by `main`
        code = 70
    sys.exit(code)


def _parser() -> Parser:
    parser = Parser(prog="awbench", description=_DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"awbench {awbench.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=Parser)
    for command in COMMANDS:
        command.add_parser(commands)
    _add_common(commands)
    return parser


def _add_common(commands: argparse._SubParsersAction[Parser]) -> None:
    """Give every command, and every command of a command, `--module`, `-q` and `-v`."""
    for parser in commands.choices.values():
        nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
        for action in nested:
            _add_common(action)
        if not nested:
            parser.add_argument("--module", action="append", default=[], metavar="[NAME=]MODULE:CLASS", help=_MODULE)
            for argument in parser._actions:
                if values := COMPLETERS.get(argument.dest):
                    argument.completer = values  # type: ignore[attr-defined]  # argcomplete's
            loudness = parser.add_mutually_exclusive_group()
            for flag, name, value, text in (
                ("-q", "--quiet", -1, "no progress: on stderr warnings and errors alone"),
                ("-v", "--verbose", 1, "routine choices too, e.g. how AW-convolutions are executed"),
            ):
                loudness.add_argument(
                    flag, name, action="store_const", const=value, default=0, dest="verbosity", help=text
                )
