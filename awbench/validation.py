"""Strict validation of files that people write by hand: unknown keys are errors with a suggestion."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from awbench.errors import suggestion


class Strict(BaseModel):
    """A frozen model that forbids unknown keys, naming the nearest known one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _forbid_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict):
            for key in data:
                if key not in cls.model_fields:
                    known = list(cls.model_fields)
                    raise ValueError(f"unknown key {key!r}{suggestion(str(key), known)} Known: {', '.join(known)}")
        return data


def first_error(error: ValidationError) -> str:
    """The first problem as one line: where, what, and the value where it is short."""
    problem = error.errors()[0]
    where = ""
    for part in problem["loc"]:
        where += f"[{part}]" if isinstance(part, int) else f".{part}" if where else str(part)
    message = problem["msg"].removeprefix("Value error, ")
    value = problem.get("input")
    shown = f" (it is {value!r})" if isinstance(value, (str, int, float, bool)) else ""
    return f"{where}: {message}{shown}" if where else f"{message}{shown}"
