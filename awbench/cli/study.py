"""`awbench study`: what is run to answer a question, decided before, and how far it is."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from awbench.cli.common import Parser, add_json, add_references, add_results, print_json, say
from awbench.errors import UserError
from awbench.records import Records, RecordStore

_DATA = {"imagenet": "AWBENCH_IMAGENET", "coco": "AWBENCH_COCO"}
_MOST_WORKERS = 8


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
    add_json(listing)
    listing.set_defaults(run=run_list)
    for name, function, text in (
        ("show", run_show, "the design: networks, recipe, seeds, looks"),
        ("status", run_status, "runs so far, answers, what was left aside and why"),
        ("run", run_run, "make the runs that come next, until it is answered"),
    ):
        action = actions.add_parser(name, help=text)
        action.add_argument("study", metavar="NAME", help="a study of 'awbench study list', or a YAML file")
        if name != "show":
            add_results(action)
            add_references(action)
        if name == "run":
            _add_run_options(action)
        add_json(action)
        action.set_defaults(run=function)


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="print the commands of the next runs, run nothing")
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder of the dataset")
    parser.add_argument("--backbones", type=Path, metavar="DIR", help="weights, for a study of given backbones")
    parser.add_argument("--parallel", type=int, metavar="N", help="runs at a time (default: a core each; with GPUs 1)")
    parser.add_argument("--processes", type=int, metavar="N", help="processes of each run (default: a GPU each)")
    parser.add_argument("--workers", type=int, metavar="N", help="loading processes of each process")
    parser.add_argument("--runs", type=int, metavar="N", help="stop after so many runs (default: when it is answered)")
    parser.add_argument("--cluster", choices=("slurm", "local"), help="submit through submitit instead")
    parser.add_argument("--cluster-set", action="append", default=[], metavar="KEY=VALUE", help="e.g. nodes=2")


def run_list(args: argparse.Namespace) -> int:
    from awbench.studies import load_studies

    studies = load_studies()
    if args.json:
        print_json([{"name": study.name, "title": study.title, "purpose": study.purpose} for study in studies])
    else:
        for study in studies:
            print(f"{study.name:16} {study.purpose:13} {study.title}")
    return 0


def run_show(args: argparse.Namespace) -> int:
    from awbench.studies import load_study

    study = load_study(args.study)
    if args.json:
        design = study.model_dump(mode="json", exclude_defaults=True)
        print_json({**design, "sha256": study.digest, "resolved_recipe": study.resolved_recipe.identity()})
        return 0
    print(f"{study.name}: {study.title} ({study.purpose})\n{study.question}\ndesign {study.digest}")
    print(f"dataset {study.dataset}, {study.metric}, recipe {' '.join([study.recipe, *study.changes])}")
    print(f"answers hold together at {study.level:.0%}")
    for label in study.labels:
        print(f"  {label}: seeds 0 to {study.runs_of(label) - 1}")
    for comparison in study.comparisons:
        claim = f", claim {comparison.claim}" if comparison.claim else ""
        looks = ", ".join(map(str, study.looks_of(comparison)))
        print(f"  {comparison.variant} over {comparison.over} ({comparison.role}{claim}): looks at {looks} runs each")
    return 0


def run_status(args: argparse.Namespace) -> int:
    from awbench.report.answers import study_object, study_text

    judged = _judged(args, Records.read(args.results))
    print_json(study_object(judged)) if args.json else print(study_text(judged))
    return 0


def _judged(args: argparse.Namespace, records: Records) -> Any:
    from awbench.reference.load import load_references
    from awbench.studies import load_study
    from awbench.verdicts.study import judge_study

    claims = [claim for _, claim in load_references(args.references).claims]
    return judge_study(load_study(args.study), records, claims)


def run_run(args: argparse.Namespace) -> int:
    for name in ("parallel", "processes", "runs"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} {value} must be at least 1")
    from awbench.report.answers import study_object, study_text
    from awbench.studies import load_study

    study, store = load_study(args.study), RecordStore(args.results)
    made, failed = 0, dict[str, str]()
    while True:
        judged = _judged(args, store.read())
        wanted = next_runs(judged)[: None if args.runs is None else args.runs - made]
        if not wanted or failed:
            break
        runs, parallel, processes = _plan(args, study, wanted, store)
        if args.dry_run:
            for run in runs:
                print("awbench " + " ".join(run.argv))
            return 0
        result = _carry_out(args, runs, store, parallel, processes)
        made += len(result.trained)
        failed = result.failed
        if not result.trained and not result.found and not failed:
            break
    if args.json:
        print_json({**study_object(judged), "made": made, "failed": failed})
    else:
        print(study_text(judged))
        for name, why in failed.items():
            print(f"failed: {name}: {why}")
    return 2 if failed else 0


def next_runs(judged: Any) -> list[tuple[str, int]]:
    """(label, seed) of the runs that the next looks need, seeds outermost; none where all is answered."""
    needed: dict[str, int] = {}
    for one in judged.open:
        for label in (one.comparison.over, one.comparison.variant):
            needed[label] = max(needed.get(label, 0), one.next_look)
    have = {label: len(runs) for label, runs in judged.evidence.runs.items()}
    most = max(needed.values(), default=0)
    return [
        (label, seed)
        for seed in range(most)
        for label in judged.study.labels
        if have[label] <= seed < needed.get(label, 0)
    ]


def _plan(args: argparse.Namespace, study: Any, wanted: list[tuple[str, int]], store: RecordStore) -> Any:
    """(runs, at a time, processes of each)."""
    from awbench.experiments.study import study_jobs
    from awbench.experiments.sweep import plan_runs

    given = os.environ.get(_DATA.get(study.dataset, ""))
    data = args.data or (Path(given) if given else None)
    jobs = study_jobs(study, wanted, data.resolve() if data else None, _backbones(args, study, wanted, store))
    cores, parallel, processes = os.cpu_count() or 1, args.parallel or 1, args.processes or 1
    workers = args.workers or 0
    if study.facts.proxy:
        parallel = args.parallel or min(cores, 8)
    elif args.processes is None and not args.cluster:
        import torch

        processes = max(1, min(torch.cuda.device_count(), study.resolved_recipe.micro_batches))
        workers = args.workers if args.workers is not None else max(1, min(_MOST_WORKERS, cores // processes - 1))
    argv = ["--workers", str(workers)]
    return plan_runs(jobs, store.results.resolve(), argv), parallel, processes


def _backbones(
    args: argparse.Namespace, study: Any, wanted: list[tuple[str, int]], store: RecordStore
) -> dict[tuple[str, int], Path]:
    """(backbone, seed) -> weights: of the runs of the study of backbones, or of the given folder."""
    from awbench.cli.sweep import backbones_in
    from awbench.studies import load_study
    from awbench.verdicts.evidence import GIVEN, gather_evidence

    if not study.backbones:
        return {}
    names = [study.variant_of(label).backbone for label, _ in wanted]
    if study.backbones == GIVEN:
        if args.backbones is None:
            raise UserError(f"study {study.name} starts from given backbones; give their folder with --backbones DIR")
        files = backbones_in(args.backbones, names)
        return {(name, seed): files[name] for (_, seed), name in zip(wanted, names, strict=True) if name in files}
    evidence, found = gather_evidence(load_study(study.backbones), store.read()), dict[tuple[str, int], Path]()
    for runs in evidence.runs.values():
        for seed, run in enumerate(runs):
            pattern = f"{run.variant}-*-{evidence.study.digest[:8]}-{run.key[:8]}/weights.safetensors"
            for path in (store.results / "runs").glob(pattern):
                found[run.variant, seed] = path.resolve()
    return found


def _carry_out(args: argparse.Namespace, runs: Any, store: RecordStore, parallel: int, processes: int) -> Any:
    from awbench.cli.sweep import cluster_parameters
    from awbench.experiments.sweep import run_sweep, submit_sweep

    if args.cluster:
        return submit_sweep(runs, store, args.cluster, cluster_parameters(args.cluster_set), say)
    return run_sweep(runs, store, parallel, processes, say)
