"""The two tasks, classification and detection: the only modules that know which of them a job is."""

from __future__ import annotations

import importlib
from typing import Any

from awbench.tasks.job import Job
from awbench.tasks.task import Task

__all__ = ["Job", "Task", "open_task"]


def open_task(job: Job, splits: Any = None) -> Task[Any]:
    """The task of a job, its data opened and checked.

    Args:
        splits: of an earlier task on the same data, so that it is not opened again.

    Raises:
        UserError: the data, the recipe, the weights or the engine is at fault.
    """
    module: Any = importlib.import_module(f"awbench.tasks.{job.variant.task}")
    task: Task[Any] = module.open_task(job, splits)
    return task
