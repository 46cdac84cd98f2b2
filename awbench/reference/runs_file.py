"""Runs that were trained elsewhere, from files: rows of CSV or JSON, or what timm, Detectron2 and pycocotools write."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import reprlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from awbench.errors import UserError, suggestion
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
    rows = _rows(path, _text(path))
    if not rows:
        raise UserError(f"{path} holds no runs")
    problems, runs, seen = dict[str, list[str]](), list[ImportedRun](), dict[tuple[Any, ...], str]()
    for where, row in rows:
        try:
            run = _run({**row, **given})
        except ValueError as error:
            problems.setdefault(str(error), []).append(where)
            continue
        key = tuple(run.identity.values())
        if key in seen:
            twice = f"seed {run.seed} of {run.variant} ({run.metric}) stands in {seen[key]} already"
            problems.setdefault(twice, []).append(where)
        seen.setdefault(key, where)
        runs.append(run)
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
    noun, numbers = wheres[0].split()[0], [int(where.split()[1]) for where in wheres if where.split()[1].isdigit()]
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


def _rows(path: Path, text: str) -> list[tuple[str, dict[str, Any]]]:
    """(where it stands, its columns) of every row."""
    if _COCO_LINE.search(text):
        found = {_COCO_PLACES.get((iou, area)): value for iou, area, value in _COCO_LINE.findall(text)}
        return _of_metrics("what pycocotools prints", {metric: value for metric, value in found.items() if metric}, 100)
    if text.lstrip()[:1] in ("{", "["):
        return _json_rows(path, text)
    table = csv.DictReader(io.StringIO(text), strict=True)
    try:
        header, lines = table.fieldnames or [], [(f"line {table.line_num}", row) for row in table]
    except csv.Error as error:
        raise UserError(f"{path}, line {table.line_num}: {error}") from None
    if {"epoch", "eval_top1"} <= set(header):  # timm's, whose last epoch is the result
        last = {name: lines[-1][1][f"eval_{name}"] for name in ("top1", "top5") if lines and f"eval_{name}" in header}
        return _of_metrics("its last epoch", last)
    unknown = [name for name in header if name not in COLUMNS]
    if unknown or not header:
        name = (unknown or [""])[0]
        raise UserError(
            f"{path}: column {reprlib.repr(name)} is not known{suggestion(name, COLUMNS)} "
            f"Known: {', '.join(COLUMNS)}; or give timm's summary.csv"
        )
    if any(None in row or None in row.values() for _, row in lines):
        where = next(where for where, row in lines if None in row or None in row.values())
        raise UserError(f"{path}, {where}: it has not as many cells as the header has")
    return lines


def _json_rows(path: Path, text: str) -> list[tuple[str, dict[str, Any]]]:
    try:
        content = json.loads(text)
    except RecursionError:
        raise UserError(f"{path} is not JSON of runs: it is nested too deep") from None
    except ValueError as error:
        try:  # Detectron2's metrics.json: an object a line, the evaluation in the last that has one
            lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        except (ValueError, RecursionError):
            raise UserError(f"{path} is not JSON: {error}") from None
        flat = next((line for line in reversed(lines) if isinstance(line, dict) and "bbox/AP" in line), None)
        content = {"bbox": {key.removeprefix("bbox/"): value for key, value in (flat or {}).items()}}
    if isinstance(content, dict) and isinstance(content.get("bbox"), dict):
        found = {metric: content["bbox"].get(name) for name, metric in _DETECTRON2.items()}
        return _of_metrics("bbox", {metric: value for metric, value in found.items() if value is not None})
    if isinstance(content, list) and len(content) == 12 and all(isinstance(value, (int, float)) for value in content):
        return _of_metrics("COCOeval.stats", dict(zip(_COCO, content, strict=False)), 100)
    rows = content.get("runs") if isinstance(content, dict) else content
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(
            f"{path} is no list of runs, nor what Detectron2 or pycocotools write; see 'awbench import --help'"
        )
    for number, row in enumerate(rows, 1):
        for name in row:
            if name not in COLUMNS:
                hint = suggestion(str(name), COLUMNS)
                raise UserError(f"{path}: run {number}: {name!r} is not known{hint} Known: {', '.join(COLUMNS)}.")
    return [(f"run {number}", row) for number, row in enumerate(rows, 1)]


def _of_metrics(where: str, values: Mapping[Any, Any], scale: int = 1) -> list[tuple[str, dict[str, Any]]]:
    """A row a metric; those that a tool could not measure, which it writes as -1 or nan, are left out."""
    rows = []
    for metric, value in values.items():
        number = _number(value)
        if number is not None and number >= 0:
            rows.append((where, {"metric": metric, "value": number * scale}))
    return rows


def _run(row: Mapping[str, Any]) -> ImportedRun:
    """Raises: ValueError: what is wrong with the row."""
    cells = {name: str(value).strip() for name, value in row.items() if value is not None and str(value).strip()}
    missing = [name for name in NEEDED if name not in cells]
    if missing:
        raise ValueError(f"it has no {', '.join(missing)}; add it, or give it for all rows, e.g. --{missing[0]}")
    if ("variant" in cells) == ("network" in cells):
        raise ValueError("give one of variant, a name from 'awbench list', and network, what its source calls another")
    known = {variant.name for variant in list_variants()}
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
    (unit,) = METRICS[metric].units
    if _UNITS.get(stated := cells.get("unit", unit), stated) != unit:
        raise ValueError(f"unit of {metric} is {cells['unit']!r}; it must be {unit}")
    value = _number(cells["value"])
    if value is None or not 0 <= value <= 100:
        raise ValueError(f"value {cells['value']!r} of {metric} is not between 0 and 100 {unit}")
    if 0 < value <= 1:
        raise ValueError(f"value {cells['value']} of {metric} looks like a fraction; give it in {unit}")
    return ImportedRun(
        name, "variant" in cells, cells["dataset"], cells["recipe"], _digest(cells.get("recipe_sha256", "")),
        _whole("seed", cells["seed"]), metric, value, _whole("images", cells["images"]) if "images" in cells else None,
        cells["source"],
    )  # fmt: skip


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _whole(name: str, text: str) -> int:
    if not re.fullmatch(r"\d{1,15}", text):
        raise ValueError(f"{name} {text!r} is not a whole number of 0 or more")
    return int(text)


def _digest(text: str) -> str:
    if not re.fullmatch(r"([0-9a-f]{8,64})?", text):
        raise ValueError(f"recipe_sha256 {text!r} is not 8 to 64 hexadecimal digits")
    return text
