"""What several commands share: their options, progress, and JSON on stdout."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from awbench.errors import UserError
from awbench.variants import AWOptions, ModelOptions, Variant, make_options

T = TypeVar("T")
_PLAIN_PROGRESS_SECONDS = 10.0


class Parser(argparse.ArgumentParser):
    """argparse with errors of one line, and help that keeps its examples as they are written."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see '{self.prog} --help'\n")


def add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="JSON alone on stdout, everything else on stderr")


def add_results(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--results", type=Path, default=Path("results"), metavar="DIR", help="folder of records (default: results)"
    )


def add_references(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--references", type=Path, metavar="DIR", help="folder of published numbers (default: the project's own)"
    )


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """The options of `ModelOptions`, with the provenance of each default in the help."""
    parser.add_argument(
        "--stride-placement", default="v1.5", metavar="{v1,v1.5}", help="stride of bottlenecks (default: v1.5)"
    )
    parser.add_argument("--num-classes", type=int, metavar="N", help="outputs (default: 1000, or 10 for CIFAR-style)")
    parser.add_argument(
        "--aw-option", action="append", default=[], metavar="KEY=VALUE", help="an AW-convolution choice, see below"
    )
    parser.add_argument(
        "--attention-option", action="append", default=[], metavar="KEY=VALUE", help="of SE, CBAM, ...: reduction=16"
    )


def aw_options_help() -> str:
    """The AW options, one a line."""
    import dataclasses

    lines = ["AW options (default, provenance of the default):"]
    for field in dataclasses.fields(AWOptions):
        default = str(field.default).lower() if field.type == "bool" else field.default
        shown = ",".join(map(str, default)) if isinstance(default, tuple) else default
        lines.append(f"  {field.name:17} {field.metadata['help']} ({shown}, {field.metadata['provenance']})")
    return "\n".join(lines)


def model_options(args: argparse.Namespace, variants: Sequence[Variant]) -> ModelOptions:
    """ModelOptions from the arguments of `add_model_options`.

    Raises:
        UserError: one does not exist, does not fit, or concerns none of the variants.
    """
    if args.aw_option and not any(variant.aw for variant in variants):
        raise UserError(f"--aw-option {args.aw_option[0]} concerns no variant named: none has AW-convolutions")
    if args.attention_option and not any(variant.attention for variant in variants):
        raise UserError(
            f"--attention-option {args.attention_option[0]} concerns no variant named: none has SE, CBAM, ...; "
            "for AW-convolutions use --aw-option"
        )
    return make_options(
        stride_placement=args.stride_placement,
        num_classes=args.num_classes,
        attention_options={key: _number(value) for key, value in _pairs(args.attention_option)},
        aw_options=dict(_pairs(args.aw_option)),
    )


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    pairs = []
    for word in words:
        key, separator, value = word.partition("=")
        if not separator:
            raise UserError(f"option {word!r} is not of the form KEY=VALUE, e.g. reduction=8")
        pairs.append((key, value))
    return pairs


def _number(text: str) -> int | float | str:
    """The text as a number where it is a finite one; the module says what it takes."""
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if math.isfinite(number):
            return number
    return text


def progress(items: Sequence[T], description: str, unit: str) -> Iterator[T]:
    """Iterate with a bar on a terminal, or a plain line on stderr every few seconds elsewhere."""
    if sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=description, unit=f" {unit}", dynamic_ncols=True, leave=False)
        return
    last = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        if time.monotonic() - last > _PLAIN_PROGRESS_SECONDS or done == len(items):
            last = time.monotonic()
            say(f"{description}: {done} of {len(items)} {unit}s")


def say(line: str) -> None:
    """A line for the person, on stderr."""
    print(line, file=sys.stderr, flush=True)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, allow_nan=False))
