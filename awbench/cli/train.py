"""`awbench train`: one training run, recorded."""

from __future__ import annotations

import argparse
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from awbench.cli.common import NO_EVIDENCE, log, print_json, print_runs, show, show_progress, shown_duration
from awbench.cli.options import MODEL, add_options, aw_options_help, is_main_process, job_of
from awbench.errors import UserError
from awbench.records import Record, RecordStore
from awbench.variants import parse_variant

# Of an evaluation: what is shown, and how.
_FOUND = {"top1_percent": "top-1 {:.2f} %", "box_ap": "AP {:.2f}", "ap50": "AP50 {:.2f}"}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "train",
        help="train a variant and record its accuracy",
        description="Train a variant, evaluate it and record its accuracy, or its AP if it is a detector.\n\n"
        "  awbench train aw_resnet20                          digits on a laptop\n"
        "  awbench train aw_resnet101 --dataset imagenet --data DIR --recipe cbam --workers 8\n"
        "  awbench train faster_rcnn_aw_resnet18_fpn --init-weights F   digits to detect on a laptop\n"
        "  awbench train faster_rcnn_aw_resnet101_fpn --dataset coco --data DIR --recipe detectron2-3x \\\n"
        "      --init-weights aw_resnet101.safetensors --workers 4\n"
        "  torchrun --nproc-per-node 8 -m awbench train ...   the same result on 8 GPUs\n\n"
        "Interrupt it any time: the same command with --resume goes on. On SIGTERM it saves and exits with\n"
        "code 75, which says: run me again with --resume.",
        epilog=aw_options_help(),
    )
    parser.add_argument("variant", help="a name from 'awbench list'")
    add_options(parser, "--recipe", "--set", "--dataset", "--data", "--skip-bad-images")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, order and augmentation (0)")
    parser.add_argument(
        "--init-weights", type=Path, metavar="FILE", help="start from these weights; a detector's backbone from them"
    )
    add_options(parser, "--ema")
    parser.add_argument("--study", metavar="NAME", help="the study that this run is part of; its record says so")
    parser.add_argument("--output", type=Path, metavar="DIR", help="checkpoints and metrics (default: below results)")
    parser.add_argument("--resume", action="store_true", help="continue from the newest checkpoint, if there is one")
    parser.add_argument("--checkpoint-seconds", type=float, default=600, metavar="S", help="save this often (600)")
    parser.add_argument("--keep-checkpoints", action="store_true", help="of a finished run too, beside its weights")
    parser.add_argument("--compile", action="store_true", help="compile the network with torch.compile (no detector)")
    parser.add_argument(
        "--joined", type=int, metavar="N", help="micro-batches in one forward pass, their statistics apart: the same "
        "result but for rounding (default: 1 on a CPU, those of 128 images on a GPU of 32 GiB; no detector)",
    )  # fmt: skip
    parser.add_argument(
        "--deterministic",
        action=argparse.BooleanOptionalAction,
        help="give the same bits every time (default: on a CPU yes, on a GPU no)",
    )
    parser.add_argument("--plan", type=Path, help=argparse.SUPPRESS)  # `experiments.planned`, by a sweep
    add_options(parser, "--aw-strategy", "--device", "--workers", "--engine", *MODEL, "--results", "--json")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    from awbench.experiments.planned import Planned

    planned = Planned.read(args.plan) if args.plan else None
    recipe = planned.resolved_recipe(parse_variant(args.variant).task) if planned else None
    job = job_of(args, recipe, seed=args.seed, initial_weights=args.init_weights)
    if args.compile and job.variant.task == "detection":
        raise UserError(f"--compile is for classifiers; {job.variant.name}'s shapes change with every image")
    if args.joined is not None and args.joined < 1:
        raise UserError(f"--joined {args.joined} is no number of micro-batches; use 1 or more")
    if args.joined is not None and args.joined > 1 and args.compile:
        raise UserError("--joined is not for --compile, which joins launches on its own; leave one of them out")
    if args.joined is not None and job.variant.task == "detection":
        raise UserError(f"--joined is for classifiers; {job.variant.name}'s micro-batches have losses of their own")

    from awbench.experiments.ending import Ending, write_ending
    from awbench.experiments.runs import train
    from awbench.training.execution import Execution

    if is_main_process() and job.recipe.lr_scaled_by != 1:
        scale = f"{job.recipe.lr_scaled_by:g} to {job.recipe.lr:g}"
        log(f"batch {job.recipe.batch_size}: learning rate scaled by {scale} (linear-scaling rule)")
    folder = list[Path]()

    def on_start(output: Path) -> None:
        folder.append(output)
        if args.recipe is None and planned is None:
            log(f"recipe: {job.recipe.name}, the default on {job.dataset} ('awbench list --recipes' has all)")
        log(f"run folder: {output}\ncurves: tensorboard --logdir {shlex.quote(str(output / 'tensorboard'))}")

    with _progress(args.variant) as on_progress:
        execution = Execution(
            device=args.device,
            workers=args.workers,
            output=args.output,
            resume=args.resume,
            keep_checkpoints=args.keep_checkpoints,
            checkpoint_seconds=args.checkpoint_seconds,
            deterministic=args.deterministic,
            compile=args.compile,
            joined=args.joined,
            aw_strategy=args.aw_strategy,
            on_progress=on_progress,
            on_start=on_start,
        )
        record, new = train(job, RecordStore(args.results), execution, planned)
    if is_main_process():
        write_ending(Ending(0, new=new))
        on = "" if args.dataset else f" on {job.dataset}, the default (--dataset NAME for another)"
        log(f"trained{on} and recorded" if new else f"found in {args.results}, not trained again")
        if new:
            log(f"weights: {folder[0] / 'weights.safetensors'}")
        if not job.study:
            log(NO_EVIDENCE)
        if args.json:
            print_json(result_object(record))
        else:
            show(describe(record))
            print_runs(RecordStore(args.results).read(), {record.key})
    return 0


@contextmanager
def _progress(name: str) -> Iterator[Callable[[Any], None]]:
    """Show the step, the speed and the loss now and then; after every evaluation a line with what it found."""
    began, started_at = time.monotonic(), None
    with show_progress(name) as shown:

        def on_progress(at: Any) -> None:
            nonlocal started_at
            started_at = at.step - 1 if started_at is None else started_at
            loss = "" if at.loss is None else f", loss {at.loss:.4f}"
            if at.evaluation is None:
                shown.show(at.step, at.steps, f"step {at.step} of {at.steps}, {at.images_per_s:.0f} images/s{loss}")
                return
            number, of = at.evaluation["evaluation"], -(-at.steps // at.evaluate_every)
            shown_as = {key: title for key, title in _FOUND.items() if key in at.evaluation}
            found = ", ".join(title.format(at.evaluation[key]) for key, title in shown_as.items())
            kind = "epoch" if "top1_percent" in shown_as else "evaluation"  # a classifier's are one an epoch
            left = (time.monotonic() - began) / max(at.step - started_at, 1) * (at.steps - at.step)
            rest = f"{shown_duration(left)} left" if at.step < at.steps else shown_duration(time.monotonic() - began)
            shown.line(f"{name}: {kind} {number} of {of}: {found}{loss}, {at.images_per_s:.0f} images/s, {rest}")

        yield on_progress


def result_object(record: Record) -> dict[str, Any]:
    """The JSON object of an accuracy or detection record."""
    settings = record.settings.json_object
    return {
        "variant": record.variant,
        "options": record.options,
        "dataset": settings["dataset"],
        "origin": settings["origin"],
        "seed": settings.get("seed"),
        **{name: settings[name] for name in ("engine", "evaluation") if name in settings},
        **{name: quantity.value for name, quantity in record.values.items()},
        "notes": record.notes,
    }


def describe(record: Record) -> str:
    """E.g. "aw_resnet20 on digits: top-1 98.33 % (standard error 0.68), top-5 100.00 %, 359 images"."""
    where = f"{record.variant} on {record.settings.json_object['dataset']}"
    if record.kind == "detection":
        from awbench.reference.metrics import measured_metrics

        names = [name for name in measured_metrics("detection") if name in record.values]
        shown = [f"{name} {record.value(name):.2f}" for name in names]
        line = f"{where} ({record.settings.json_object['engine']}): {', '.join(shown)} AP points"
    else:
        line = (
            f"{where}: top-1 {record.value('top1'):.2f} % "
            f"(standard error {record.value('top1_standard_error'):.2f}), top-5 {record.value('top5'):.2f} %"
        )
    return "\n".join([f"{line}, {record.value('images'):,} images", *(f"  {note}" for note in record.notes)])
