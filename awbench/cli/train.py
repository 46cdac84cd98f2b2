"""`awbench train`: one training run, recorded."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from awbench.cli.common import add_json, add_model_options, add_results, aw_options_help, model_options, print_json, say
from awbench.cli.training_options import add_dataset, add_machine, add_recipe_changes
from awbench.errors import UserError
from awbench.records import Record, RecordStore
from awbench.variants import parse_variant

_PLAIN_PROGRESS_SECONDS = 30.0


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train a variant and record its accuracy",
        description="Train a classification variant, evaluate it and record its accuracy.\n\n"
        "  awbench train aw_resnet20                          digits on a laptop\n"
        "  awbench train aw_resnet101 --dataset imagenet --data DIR --recipe cbam --workers 8\n"
        "  torchrun --nproc-per-node 8 -m awbench train ...   the same result on 8 GPUs\n\n"
        "Interrupt it any time: the same command with --resume goes on. On SIGTERM it saves and exits with\n"
        "code 75, which says: run me again with --resume.",
        epilog=aw_options_help(),
    )
    parser.add_argument("variant", help="a name from 'awbench list --task classification'")
    parser.add_argument(
        "--recipe", default="digits-quick", metavar="NAME", help="digits-quick (default), cifar, cbam, torchvision-v1"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, order and augmentation")
    parser.add_argument("--output", type=Path, metavar="DIR", help="checkpoints and metrics (default: below results)")
    parser.add_argument("--resume", action="store_true", help="go on from the newest checkpoint, if there is one")
    parser.add_argument("--init-weights", type=Path, metavar="FILE", help="start from these weights")
    parser.add_argument("--checkpoint-seconds", type=float, default=600, metavar="S", help="save this often (600)")
    parser.add_argument("--compile", action="store_true", help="torch.compile the network")
    parser.add_argument(
        "--deterministic",
        action=argparse.BooleanOptionalAction,
        help="the same bits every time (default: on a CPU yes, on a GPU no)",
    )
    parser.add_argument("--aw-strategy", default="auto", metavar="NAME", help="how AW-convolutions are executed")
    add_dataset(parser)
    add_recipe_changes(parser)
    add_machine(parser)
    add_model_options(parser)
    add_results(parser)
    add_json(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    if args.workers < 0:
        raise UserError(f"--workers {args.workers} is negative; use 0 or more")
    variant = parse_variant(args.variant, "classification")
    options = model_options(args, [variant])
    from awbench.training.job import TrainingJob, train_job
    from awbench.training.recipe import load_recipe

    recipe = load_recipe(args.recipe, args.changes)
    main = os.environ.get("RANK", "0") == "0"
    if main and recipe.lr_scaled_by != 1:
        say(
            f"batch {recipe.batch_size}: learning rate scaled by {recipe.lr_scaled_by:g} to {recipe.lr:g} "
            "(linear-scaling rule)"
        )
    job = TrainingJob(
        variant, options, args.dataset, args.data, recipe, args.seed, args.init_weights, args.skip_bad_images
    )
    with _watch(args.variant) as watch:
        record, new = train_job(
            job,
            RecordStore(args.results),
            args.output,
            device=args.device,
            resume=args.resume,
            workers=args.workers,
            checkpoint_seconds=args.checkpoint_seconds,
            deterministic=args.deterministic,
            compile=args.compile,
            aw_strategy=args.aw_strategy,
            watch=watch,
        )
    if main:
        say("trained and recorded" if new else f"found in {args.results}, not trained again")
        print_json(accuracy_object(record)) if args.json else print(describe(record))
    return 0


@contextmanager
def _watch(name: str) -> Iterator[Callable[[Any], None]]:
    """A bar on a terminal, or a plain line after an evaluation, and in between now and then, elsewhere."""
    if not sys.stderr.isatty():
        last = time.monotonic()

        def line(progress: Any) -> None:
            nonlocal last
            if progress.step % progress.evaluate_every == 0 or time.monotonic() - last > _PLAIN_PROGRESS_SECONDS:
                last = time.monotonic()
                loss = "" if progress.loss is None else f", loss {progress.loss:.4f}"
                say(f"{name}: step {progress.step} of {progress.steps}{loss}")

        yield line
        return
    from tqdm import tqdm

    with tqdm(desc=name, unit=" step", dynamic_ncols=True) as bar:

        def update(progress: Any) -> None:
            bar.total = progress.steps
            loss = "-" if progress.loss is None else f"{progress.loss:.4f}"
            bar.set_postfix_str(f"{progress.images_per_s:.0f} images/s, loss {loss}", refresh=False)
            bar.update(progress.step - bar.n)

        yield update


def accuracy_object(record: Record) -> dict[str, Any]:
    """The JSON object of an accuracy record."""
    return {
        "variant": record.variant,
        "options": record.options,
        "dataset": record.settings["dataset"],
        "origin": record.settings["origin"],
        "seed": record.settings.get("seed"),
        "evaluation": record.settings["evaluation"],
        **{name: quantity.value for name, quantity in record.values.items()},
        "notes": record.notes,
    }


def describe(record: Record) -> str:
    """E.g. "aw_resnet20 on digits: top-1 98.33 % (standard error 0.68), top-5 100.00 %, 359 images"."""
    lines = [
        f"{record.variant} on {record.settings['dataset']}: top-1 {record.value('top1'):.2f} % "
        f"(standard error {record.value('top1_standard_error'):.2f}), top-5 {record.value('top5'):.2f} %, "
        f"{record.value('images'):,} images"
    ]
    return "\n".join([*lines, *(f"  {note}" for note in record.notes)])
