"""`awbench study`: what is run to answer a question, decided before, and how far it is."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Any

from awbench.cli.common import Parser, print_json, show
from awbench.cli.grid import count_study
from awbench.cli.options import add_options, cluster_parameters, references_of, results_to_read
from awbench.cli.study_runs import HowToRun, judge, next_runs, plan, run_study
from awbench.errors import UserError
from awbench.records import RecordStore
from awbench.studies import load_studies, load_study


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "study",
        help="run what answers a question, by a design decided before the first result",
        description="A study is a file: networks, recipe, seeds, at how many runs results are looked at, and which\n"
        "claims they answer. Its digest is in every record that it makes. Runs are added until every question is\n"
        "answered or the last look is reached; start it again any time, on one machine or a cluster.\n\n"
        "  awbench study list\n"
        "  awbench study show imagenet\n"
        "  awbench study run digits\n"
        "  awbench study run imagenet --data DIR --dry-run\n"
        "  awbench study run coco --data DIR --cluster slurm --cluster-set nodes=1 --cluster-set gpus_per_node=8\n"
        "  awbench study status imagenet",
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=Parser)
    listing = actions.add_parser("list", help="the project's studies")
    add_options(listing, "--json")
    listing.set_defaults(run=run_list)
    for name, function, text in (
        ("show", run_show, "the design: networks, recipe, seeds, looks"),
        ("status", run_status, "runs so far, answers, what was left aside and why"),
        ("run", run_run, "make the runs that come next, until it is answered"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("study", metavar="NAME", help="a study of 'awbench study list', or a YAML file")
        if name != "show":
            add_options(action, "--results", "--references", "--only-references")
        if name == "run":
            _add_run_options(action)
        add_options(action, "--json")
        action.set_defaults(run=function)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="print the commands of the next runs, run nothing")
    parser.add_argument("--backbones", type=Path, metavar="DIR", help="weights, for a study of given backbones")
    parser.add_argument("--init-weights", type=Path, metavar="FILE", help="weights, for a study of given weights")
    parser.add_argument("--runs", type=int, metavar="N", help="stop after so many runs (default: when it is answered)")
    add_options(parser, "--data", "--device", "--cluster", "--cluster-set")
    add_options(parser, "--parallel", help="runs at a time (default: one per core; with GPUs 1)")
    add_options(parser, "--processes", help="processes of each run (default: one per GPU)")
    add_options(parser, "--workers", default=None, help="data-loading processes of each process of a run")


def run_list(args: argparse.Namespace) -> int:
    studies = load_studies()
    if args.json:
        print_json([{"name": study.name, "title": study.title, "purpose": study.purpose} for study in studies])
    else:
        for study in studies:
            show(f"{study.name:22} {study.purpose:13} {study.title}")
    return 0


def run_show(args: argparse.Namespace) -> int:
    study = load_study(args.study)
    if args.json:
        design = study.model_dump(mode="json", exclude_defaults=True)
        print_json({**design, "sha256": study.digest, "resolved_recipe": study.resolved_recipe.identity()})
        return 0
    show(f"{study.name}: {study.title} ({study.purpose})\n{study.question}\ndesign {study.digest}")
    show(f"dataset {study.dataset}, {study.metric}, recipe {' '.join([study.recipe, *study.changes])}")
    show(f"answers hold together at {study.level:.0%}")
    if study.shares:
        which = "others are compared with" if study.purpose == "confirmatory" else "are the same"
        show(f"runs of study {study.shares} count too, of networks that {which}")
    for label in study.labels:
        network, seeds = study.networks.get(label), f"seeds 0 to {study.runs_of(label) - 1}"
        options = ", ".join(filter(None, (network.variant, study.changed_options(label)))) if network else ""
        described = f" ({'; '.join(filter(None, (options, network.note)))})" if network else ""
        show(f"  {label}{described}: {seeds}")
    for comparison in study.comparisons:
        claim = f", claim {comparison.claim}" if comparison.claim else ""
        looks = ", ".join(map(str, study.looks_of(comparison)))
        show(f"  {comparison.variant} over {comparison.over} ({comparison.role}{claim}): looks at {looks} runs each")
    for name, decided in study.claims.items():
        relation = "up to " if decided.relation == "up_to" else ""
        show(f"  claim {name}: {relation}{decided.delta:+g}, within {decided.margin:g} of it it is as claimed")
    return 0


def run_status(args: argparse.Namespace) -> int:
    from awbench.report.answers import study_object, study_text

    judged = judge(load_study(args.study), RecordStore(results_to_read(args)), references_of(args))
    print_json(study_object(judged)) if args.json else show(study_text(judged))
    return 0


def run_run(args: argparse.Namespace) -> int:
    for name in ("parallel", "processes", "runs"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} {value} must be at least 1")
    from awbench.report.answers import study_object, study_text

    study, store, references = (
        load_study(args.study),
        RecordStore(results_to_read(args) if args.dry_run else args.results),
        references_of(args),
    )
    how = HowToRun(
        args.data, args.backbones, args.init_weights, args.parallel, args.processes, args.workers, args.runs,
        device=args.device, cluster=args.cluster, parameters=cluster_parameters(args.cluster_set),
    )  # fmt: skip
    if args.dry_run:
        runs, _, _ = plan(study, next_runs(judge(study, store, references)), store, how)
        for run in runs:
            show(shlex.join(["awbench", *run.argv]))
        return 0
    done = run_study(study, store, references, how)
    if study.task == "classification" and study.purpose != "smoke test":
        count_study(store, study)  # what each network costs, for `awbench table studies`
    if args.json:
        print_json({**study_object(done.judged), "made": done.made, "failed": done.failed})
    else:
        show(study_text(done.judged))
        for name, why in done.failed.items():
            show(f"failed: {name}: {why}")
    return 2 if done.failed else 0
