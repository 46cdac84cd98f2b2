"""Strict validation of files that people write by hand: unknown keys are errors with a suggestion."""

from __future__ import annotations

from decimal import Decimal
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from awbench.errors import suggestion

_MOST_SHOWN = 20
# Keys of files that people have written -> what they are called now.
_EARLIER_KEYS = {"standing": "provenance", "scatter": "run_to_run"}


class Strict(BaseModel):
    """A frozen model that forbids unknown keys, naming the nearest known one; earlier names of keys are read.

    True is no number, as it is to Python.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _forbid_unknown_keys(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known = cls.model_fields
        for earlier, now in _EARLIER_KEYS.items():
            if earlier in data and now in known and now not in data:
                data = {now if key == earlier else key: value for key, value in data.items()}
        unknown = [key for key in data if key not in known]
        if unknown:  # all of them at once
            hints = [f"unknown key {key!r}{suggestion(str(key), list(known))}" for key in unknown[:_MOST_SHOWN]]
            raise ValueError(f"{' '.join(hints)} Known: {', '.join(known)}")
        for key in data:
            values = data[key] if isinstance(data[key], (list, tuple)) else [data[key]]
            kinds = _kinds(known[key].annotation)
            if kinds & {int, float, Decimal} and bool not in kinds and any(isinstance(v, bool) for v in values):
                raise ValueError(f"{key} is {data[key]!r}; it must be a number")
        return data


def _kinds(annotation: Any) -> set[Any]:
    """The types of a value, or of the members of a list: of `tuple[int, ...] | None` int and None's."""
    if get_origin(annotation) is Annotated:
        return _kinds(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType, tuple, list):
        return set().union(*map(_kinds, get_args(annotation)))
    return {annotation} if isinstance(annotation, type) else set()


def first_error(error: ValidationError) -> str:
    """The first problem as one line: where, what, and the value where it is short."""
    return _shown(error.errors()[0])


def all_errors(error: ValidationError) -> str:
    """Every problem of a file, each as `first_error` shows it, in one line; the first 20 of many."""
    problems = list(dict.fromkeys(_shown(problem) for problem in error.errors()))
    further = len(problems) - _MOST_SHOWN
    return "; ".join([*problems[:_MOST_SHOWN], *([f"and {further} more"] if further > 0 else [])])


def _shown(problem: Any) -> str:
    where = ""
    for part in problem["loc"]:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    message = problem["msg"].removeprefix("Value error, ")
    value = problem.get("input")
    shown = f" (it is {value!r})" if isinstance(value, (str, int, float, bool)) else ""
    return f"{where}: {message}{shown}" if where else f"{message}{shown}"
