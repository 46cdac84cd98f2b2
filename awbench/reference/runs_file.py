"""Runs that were trained elsewhere, from files: rows of CSV or JSON, or what timm, Detectron2 and pycocotools write."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from awbench.errors import UserError, suggestion
from awbench.recipes.datasets import DATASET_FACTS
from awbench.reference.metrics import METRICS, measured_metrics
from awbench.variants import list_variants

COLUMNS = (
    "variant", "network", "dataset", "recipe", "recipe_sha256", "seed", "metric", "value", "unit", "images", "source",
)  # fmt: skip
NEEDED = ("dataset", "recipe", "seed", "metric", "value", "source")
METRIC_NAMES = (*measured_metrics("accuracy"), *measured_metrics("detection"))
_UNITS = {"%": "percent"}  # what is meant by another name
_LARGEST_BYTES = 2**26
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,79}")
_MOST_SHOWN = 20
_LONGEST_TEXT = 300
_TASKS = {"accuracy": "classification", "detection": "detection"}  # of which task a kind of metric is
# (at most, at least) of one run: what counts among five guesses, or at one overlap, is no less than among fewer.
_ORDERED = (("top1", "top5"), ("box_ap", "ap50"), ("ap75", "ap50"))
# pycocotools' COCOeval.stats, in its order; of what it prints the same lines.
_COCO = ("box_ap", "ap50", "ap75", "ap_small", "ap_medium", "ap_large")
_COCO_LINE = re.compile(r"Average Precision.*?IoU=([\d.:]+).*?area=\s*(\w+).*?maxDets=\s*100\s*\]\s*=\s*(-?[\d.]+)")
_COCO_PLACES = {
    ("0.50:0.95", "all"): "box_ap", ("0.50", "all"): "ap50", ("0.75", "all"): "ap75",
    ("0.50:0.95", "small"): "ap_small", ("0.50:0.95", "medium"): "ap_medium", ("0.50:0.95", "large"): "ap_large",
}  # fmt: skip
_DETECTRON2 = {
    "AP": "box_ap", "AP50": "ap50", "AP75": "ap75", "APs": "ap_small", "APm": "ap_medium", "APl": "ap_large",
}  # fmt: skip


@dataclass(frozen=True)
class ImportedRun:
    """One number of one run that was trained elsewhere.

    Attributes:
        variant: a name from `awbench list`, or what its source calls another network.
        is_variant: which of the two.
        recipe_sha256: of the recipe's file, "" where nobody stated one.
        value: in the metric's unit here, percent or AP points.
        images: that it was evaluated on; None where nobody stated it.
        source: where it is from, in words or as an address.
    """

    variant: str
    is_variant: bool
    dataset: str
    recipe: str
    recipe_sha256: str
    seed: int
    metric: str
    value: float
    images: int | None
    source: str

    @property
    def identity(self) -> dict[str, Any]:
        """All but what was measured."""
        return {name: value for name, value in asdict(self).items() if name not in ("value", "images")}


def read_runs(path: Path, given: Mapping[str, str]) -> list[ImportedRun]:
    """The runs of a file.

    Args:
        given: columns that the command states for every row, e.g. the variant of timm's summary.csv.

    Raises:
        UserError: it cannot be read, is of no form known here, or rows are wrong; all of them are named, with their
            lines.
    """
    table = _table(path, _text(path))
    rows = table.rows
    if not rows:
        raise UserError(f"{path} holds no runs")
    problems, runs, seen = dict[str, list[str]](), list[ImportedRun](), dict[tuple[Any, ...], str]()
    for where, row in rows:
        try:
            run = _run({**row, **given}, is_scaled=table.is_scaled)
        except ValueError as error:
            problems.setdefault(str(error), []).append(where)
            continue
        key = tuple(run.identity.values())
        if key in seen:
            twice = f"seed {run.seed} of {run.variant} ({run.metric}) stands in {seen[key]} already"
            problems.setdefault(twice, []).append(where)
        seen.setdefault(key, where)
        runs.append(run)
    for problem, where in _out_of_order(runs, seen):
        problems.setdefault(problem, []).append(where)
    if problems:
        said = [f"{_places(wheres)}: {problem}" for problem, wheres in problems.items()]
        further = len(said) - _MOST_SHOWN
        shown = "; ".join([*said[:_MOST_SHOWN], *([f"and {further} more"] if further > 0 else [])])
        raise UserError(f"{path}: {shown}")
    return runs


def _places(wheres: Sequence[str]) -> str:
    """E.g. "line 2", "lines 2 to 7 and 9"."""
    if len(wheres) == 1:
        return wheres[0]
    noun, numbers = wheres[0].split()[0], [int(where.split()[-1]) for where in wheres if where.split()[-1].isdigit()]
    if len(numbers) < len(wheres):  # of rows that no line is, as of what a tool printed
        return wheres[0]
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    shown = [f"{first} to {last}" if last > first else str(first) for first, last in spans]
    return f"{noun}s {', '.join(shown[:-1])}{' and ' if shown[:-1] else ''}{shown[-1]}"


def _text(path: Path) -> str:
    try:
        if not path.is_file():
            raise UserError(f"{path} is not a file; give one of runs, see 'awbench import --help'")
        if path.stat().st_size > _LARGEST_BYTES:
            raise UserError(
                f"{path} has more than {_LARGEST_BYTES >> 20} MiB; give a file of results, not of detections"
            )
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from None


@dataclass(frozen=True)
class _Table:
    """Attributes: rows, (where it stands, its columns); is_scaled, whether a tool whose unit is known wrote them."""

    rows: list[tuple[str, dict[str, Any]]]
    is_scaled: bool = False


def _table(path: Path, text: str) -> _Table:
    """What a file holds, of whichever form it is."""
    if _COCO_LINE.search(text):
        found = [(_COCO_PLACES.get((iou, area)), value) for iou, area, value in _COCO_LINE.findall(text)]
        for metric, times in Counter(metric for metric, _ in found).items():
            if metric and times > 1:
                raise UserError(
                    f"{path} has {metric} {times} times, as of boxes and masks, or of several evaluations; "
                    "keep the lines of the one evaluation of boxes"
                )
        return _of_metrics(path, "what pycocotools prints", {metric: value for metric, value in found if metric}, 100)
    if text.lstrip()[:1] in ("{", "["):
        return _json_table(path, text)
    return _csv_table(path, text)


def _csv_table(path: Path, text: str) -> _Table:
    reader = csv.reader(io.StringIO(text, newline=None), strict=True)
    try:
        lines = [(f"line {reader.line_num}", cells) for cells in reader if cells]
    except csv.Error as error:
        raise UserError(f"{path}, line {reader.line_num}: {error}") from None
    if not lines:
        raise UserError(f"{path} is empty; its first line names the columns: {', '.join(NEEDED)}, ...")
    header = [cell.strip() for cell in lines.pop(0)[1]]
    is_timm = {"epoch", "eval_top1"} <= set(header)
    for name, times in Counter(header).items():
        if name not in COLUMNS and not is_timm:
            other = next((one for one in ";\t" if one in name), "")
            hint = (
                f"; separate columns by commas, not by {other!r}" if other else f"{suggestion(name.lower(), COLUMNS)}"
            )
            raise UserError(
                f"{path}: column {reprlib.repr(name)} is not known{hint}{' ' if hint[-1] in '.?' else '. '}"
                f"Known: {', '.join(COLUMNS)}; or give timm's summary.csv"
            )
        if times > 1:
            raise UserError(f"{path} has {times} columns {name!r}; keep the one that counts")
    for where, cells in lines:
        if len(cells) != len(header):
            raise UserError(f"{path}, {where}: it has {len(cells)} cells, the header has {len(header)}")
    rows = [(where, dict(zip(header, cells, strict=True))) for where, cells in lines]
    return _of_timm(path, rows) if is_timm else _Table(rows)


def _of_timm(path: Path, rows: list[tuple[str, dict[str, Any]]]) -> _Table:
    """timm's summary.csv, whose last epoch is the result."""
    if not rows:
        return _Table([])
    epochs = [_number(row["epoch"]) for _, row in rows]
    known = [epoch for epoch in epochs if epoch is not None]
    if len(known) < len(rows) or known[-1] < max(known):
        raise UserError(f"{path}: epochs are not in order, so that its last line need not be its result; keep one run")
    where, last = rows[-1]
    values = {name: last[f"eval_{name}"] for name in ("top1", "top5") if f"eval_{name}" in last}
    for name, value in values.items():
        if _number(value) is None:
            raise UserError(f"{path}, {where}: eval_{name} of the last epoch is {value!r}, not a number")
    return _of_metrics(path, "its last epoch", values)


def _json_table(path: Path, text: str) -> _Table:
    try:
        content = json.loads(text, object_pairs_hook=_without_repeats)
    except RecursionError:
        raise UserError(f"{path} is not JSON of runs: it is nested too deep") from None
    except _Repeated as error:
        raise UserError(f"{path}: {error}") from None
    except ValueError as error:
        content = _json_lines(path, text, error)
    if isinstance(content, dict) and "bbox/AP" in content:
        content = [content]
    flat = [one for one in content if isinstance(one, dict) and "bbox/AP" in one] if isinstance(content, list) else []
    if flat:  # Detectron2's metrics.json: an object a line, the evaluation in the last that has one
        content = {"bbox": {key.removeprefix("bbox/"): value for key, value in flat[-1].items()}}
    if isinstance(content, dict) and isinstance(content.get("bbox"), dict):
        found = {metric: content["bbox"].get(name) for name, metric in _DETECTRON2.items()}
        return _of_metrics(path, "bbox", {metric: value for metric, value in found.items() if value is not None})
    if isinstance(content, list) and len(content) == 12 and all(_is_real(value) for value in content):
        return _of_metrics(path, "COCOeval.stats", dict(zip(_COCO, content, strict=False)), 100)
    rows = content.get("runs") if isinstance(content, dict) else content
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(
            f"{path} is no list of runs, nor what Detectron2 or pycocotools write; see 'awbench import --help'"
        )
    if any("total_loss" in row for row in rows):
        raise UserError(f"{path} has no evaluation of boxes (bbox/AP) in any line of Detectron2's")
    for number, row in enumerate(rows, 1):
        for name in row:
            if name not in COLUMNS:
                hint = suggestion(str(name), COLUMNS)
                raise UserError(f"{path}: run {number}: {name!r} is not known{hint} Known: {', '.join(COLUMNS)}.")
    return _Table([(f"run {number}", row) for number, row in enumerate(rows, 1)])


class _Repeated(ValueError):
    """An object has a key twice; the message names it."""


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    for name, times in Counter(name for name, _ in pairs).items():
        if times > 1:
            raise _Repeated(f"an object has {name!r} {times} times; keep the one that counts")
    return dict(pairs)


def _json_lines(path: Path, text: str, error: ValueError) -> list[Any]:
    """The objects of a file that has one a line. Args: error, of reading it as one."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            found += [json.loads(line, object_pairs_hook=_without_repeats)] if line.strip() else []
        except _Repeated as repeated:
            raise UserError(f"{path}, line {number}: {repeated}") from None
        except (ValueError, RecursionError):
            where = f"line {number}, or as a whole: " if found else ""
            raise UserError(f"{path} is not JSON: {where}{error}") from None
    return found


def _is_real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _of_metrics(path: Path, where: str, values: Mapping[str, Any], scale: int = 1) -> _Table:
    """A row a metric; those that a tool could not measure, which it writes as -1 or nan, are left out.

    Args:
        scale: 100 for fractions; 1 for percent and points, which are recognised by one of them being above 1.
    """
    numbers = {metric: _number(value) for metric, value in values.items()}
    found = {metric: number for metric, number in numbers.items() if number is not None and number >= 0}
    highest = max(found.values(), default=0.0)
    if scale > 1 and highest > 1:
        raise UserError(f"{path}: {where}: they must be fractions as pycocotools has them, not {highest:g}")
    rows = [(where, {"metric": metric, "value": number * scale}) for metric, number in found.items()]
    return _Table(rows, is_scaled=scale > 1 or highest > 1)


def _out_of_order(runs: Sequence[ImportedRun], seen: Mapping[tuple[Any, ...], str]) -> Iterator[tuple[str, str]]:
    """(what is wrong, where) of the numbers of one run that cannot all be its own."""
    by_run: dict[tuple[Any, ...], dict[str, ImportedRun]] = {}
    for run in runs:
        about = tuple(value for name, value in run.identity.items() if name != "metric")
        by_run.setdefault(about, {})[run.metric] = run
    for found in by_run.values():
        for low, high in _ORDERED:
            if low in found and high in found and found[low].value > found[high].value:
                run = found[high]
                yield (
                    f"{high} of seed {run.seed} of {run.variant} is {run.value:g}, below its {low}, "
                    f"{found[low].value:g}; it cannot be",
                    seen[tuple(run.identity.values())],
                )


def _run(row: Mapping[str, Any], is_scaled: bool) -> ImportedRun:
    """Raises: ValueError: what is wrong with the row. Args: is_scaled, whether its value is surely no fraction."""
    texts = {name: " ".join(str(value).split()) for name, value in row.items() if value is not None}
    cells = {name: text for name, text in texts.items() if text}
    for name, text in cells.items():
        if len(text) > _LONGEST_TEXT or not text.isprintable():
            raise ValueError(f"{name} {text[:20]!r}... must be printable and of at most {_LONGEST_TEXT} characters")
    missing = [name for name in NEEDED if name not in cells]
    if missing:
        raise ValueError(f"it has no {', '.join(missing)}; add it, or give it for all rows, e.g. --{missing[0]}")
    if ("variant" in cells) == ("network" in cells):
        raise ValueError("give one of variant, a name from 'awbench list', and network, what its source calls another")
    known = {variant.name: variant for variant in list_variants()}
    if "variant" in cells and cells["variant"] not in known:
        hint = suggestion(cells["variant"], known)
        raise ValueError(f"{cells['variant']} is not a variant{hint} Another network's name stands under network")
    name = cells.get("variant") or cells["network"]
    if not _NAME.fullmatch(name):
        raise ValueError(f"network {name!r} is no name of letters, digits and _.+- that begins with one of the former")
    metric = cells["metric"]
    if metric not in METRIC_NAMES:
        names = ", ".join(METRIC_NAMES)
        raise ValueError(f"metric {metric!r} is not known{suggestion(metric, METRIC_NAMES)} Known: {names}")
    task = _TASKS[METRICS[metric].kind]
    if "variant" in cells and known[name].task != task:
        raise ValueError(f"{metric} is of {task} networks, {name} is of {known[name].task}")
    facts = DATASET_FACTS.get(cells["dataset"])
    if facts and facts.task != task:
        raise ValueError(f"{metric} is of {task}, dataset {cells['dataset']} is of {facts.task}")
    (unit,) = METRICS[metric].units
    if _UNITS.get(stated := cells.get("unit", unit), stated) != unit:
        raise ValueError(f"unit of {metric} is {cells['unit']!r}; it must be {unit}")
    value = _number(cells["value"])
    if value is None or not 0 <= value <= 100:
        raise ValueError(
            f"value {reprlib.repr(cells['value'])} of {metric} is not a number between 0 and 100, in {unit}, e.g. 76.30"
        )
    if 0 < value <= 1 and not is_scaled:
        raise ValueError(f"value {cells['value']} of {metric} looks like a fraction; give it in {unit}")
    images = _whole("images", cells["images"], 1) if "images" in cells else None
    return ImportedRun(
        name, "variant" in cells, cells["dataset"], cells["recipe"], _digest(cells.get("recipe_sha256", "")),
        _whole("seed", cells["seed"]), metric, value, images, cells["source"],
    )  # fmt: skip


def _number(value: Any) -> float | None:
    if isinstance(value, str) and not (value.isascii() and "_" not in value):  # which Python reads, but nobody writes
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _whole(name: str, text: str, least: int = 0) -> int:
    if not re.fullmatch(r"[0-9]{1,15}", text) or int(text) < least:
        raise ValueError(f"{name} {text!r} is not a whole number from {least} to 10^15")
    return int(text)


def _digest(text: str) -> str:
    if not re.fullmatch(r"([0-9a-f]{8,64})?", text):
        raise ValueError(f"recipe_sha256 {text!r} is not 8 to 64 hexadecimal digits")
    return text
