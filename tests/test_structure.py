"""The plan of docs/architecture.md, held by the imports: no cycle, no arrow up, two wings, torch where it computes.

Imports inside functions count as those of a module do. Not counted are those under TYPE_CHECKING, which never run, and
modules that are named in a string (the registry of attention modules, the engines of detectors).
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "awbench"

GROUND = {
    "errors",
    "validation",
    "yaml_files",
    "cache",
    "system",
    "text",
    "architectures",
    "module_files",
    "module_options",
    "modules",
    "variants",
}
ITEMS = {"records", "recipes"}  # neither knows the other
MEASURING = {
    "data", "kernels", "attention", "models", "measure", "detection", "training", "tasks", "experiments",
}  # fmt: skip
JUDGING = {"verdicts", "gate", "planning", "report", "results"}
# From the ground up; "" is the package's own file, which hands out both wings. What lies on a floor imports what lies
# below, and of its own floor itself alone; except that the ground, and each wing, is one.
FLOORS = (GROUND, ITEMS, {"reference"}, {"studies"}, MEASURING | JUDGING, {""}, {"regress"}, {"cli", "__main__"})
SHARED_FLOORS = (GROUND, MEASURING, JUDGING, {"cli", "__main__"})

COMPUTING = {"torch", "torchvision", "triton", "fvcore", "detectron2"}
# A record's environment names torch's version; commands measure. Neither does so when it is imported.
COMPUTE_IN_FUNCTIONS = {"records", "cli", "", "__main__"}


@dataclass(frozen=True)
class Import:
    """Attributes: lazy, inside a function; line, of the importing file."""

    importing: str
    imported: str
    lazy: bool
    line: int

    @property
    def arrow(self) -> tuple[str, str]:
        return self.importing, self.imported

    def __str__(self) -> str:
        return f"{self.importing}, line {self.line}, imports {self.imported}"


def modules_of(package: Path) -> dict[str, Path]:
    """Name -> file."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(package: Path) -> list[Import]:
    """Every import statement of every file; of the package's own files, and of others by their first name."""
    modules = modules_of(package)
    return [one for name, path in modules.items() for one in _imports(name, path, modules)]


def _imports(name: str, path: Path, modules: dict[str, Path]) -> Iterator[Import]:
    def visit(node: ast.AST, lazy: bool) -> Iterator[Import]:
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for child in node.orelse:
                yield from visit(child, lazy)
            return
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parents = name.split(".") if path.stem == "__init__" else name.split(".")[:-1]
            base = ".".join([*parents[: len(parents) - node.level + 1], node.module or ""]).rstrip(".")
            base = base if node.level else node.module or ""
            targets = [full if (full := f"{base}.{alias.name}") in modules else base for alias in node.names]
        else:
            targets = []
        for target in dict.fromkeys(targets):
            root = target.split(".")[0]
            yield Import(name, target if root == name.split(".")[0] else root, lazy, getattr(node, "lineno", 0))
        lazy = lazy or isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for child in ast.iter_child_nodes(node):
            yield from visit(child, lazy)

    return visit(ast.parse(path.read_text()), False)


def room_of(module: str) -> str:
    """The first name below the package; "" for the package's own file."""
    return [*module.split("."), ""][1]


def floor_of(room: str) -> int | None:
    return next((level for level, rooms in enumerate(FLOORS) if room in rooms), None)


def problems_of(imports: Iterable[Import], package: str = "awbench") -> list[str]:
    """Everything in which imports break the plan, a line each."""
    imports = list(imports)
    inside = [found for found in imports if found.imported.split(".")[0] == package]
    problems = [problem for found in inside if (problem := _wrong_way(found))]
    problems += [problem for found in imports if (problem := _wrong_torch(found))]
    return [*problems, *_cycles({found.arrow for found in inside})]


def _wrong_way(found: Import) -> str:
    importing, imported = room_of(found.importing), room_of(found.imported)
    floors = floor_of(importing), floor_of(imported)
    for room, floor in zip((importing, imported), floors, strict=True):
        if floor is None:
            return f"{found}: {room} has no place in the plan; give it one in tests/test_structure.py"
    if importing == imported or floors[0] > floors[1] or any({importing, imported} <= floor for floor in SHARED_FLOORS):
        return ""
    if floors[0] == floors[1]:
        return f"{found}: {importing} and {imported} must not know each other"
    return f"{found}: an arrow up, from {importing} to {imported}"


def _wrong_torch(found: Import) -> str:
    room = room_of(found.importing)
    if found.imported not in COMPUTING or room in MEASURING | {"regress"}:
        return ""
    if found.lazy and room in COMPUTE_IN_FUNCTIONS:
        return ""
    return f"{found}: {room or 'the package'} must do without"


def _cycles(arrows: set[tuple[str, str]]) -> list[str]:
    """The groups of files that import each other, directly or not."""
    below: dict[str, set[str]] = {}
    for importing, imported in arrows:
        below.setdefault(importing, set()).add(imported)
    reached = {module: _reachable(module, below) for module in below}
    groups = {
        frozenset(other for other in reached[module] if module in reached.get(other, ()))
        for module in reached
        if module in reached[module]
    }
    return sorted(f"a cycle of imports: {', '.join(sorted(group))}" for group in groups)


def _reachable(module: str, below: dict[str, set[str]]) -> set[str]:
    found, left = set(), [module]
    while left:
        new = below.get(left.pop(), set()) - found
        found |= new
        left += new
    return found


def test_imports_keep_to_the_plan():
    imports = imports_of(PACKAGE)
    assert len(imports) > 500
    assert problems_of(imports) == []


SOUND = {
    "errors": "import re",
    "variants": "from awbench.errors import UserError",
    "records/__init__": "from awbench.records.store import Store",
    "records/store": "from . import clock\nfrom awbench.variants import Variant",
    "records/clock": "def environment():\n    import torch",
    "recipes/__init__": "from ..variants import Variant",
    "models/resnet": "import torch\nfrom awbench.variants import Variant",
    "training/loop": "import torch.nn\nfrom awbench.models import resnet",
    "verdicts/claims": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from awbench.report import tables",
    "report/tables": "from awbench.verdicts.claims import judge",
    "cli/main": "def run():\n    from awbench.training.loop import train\n    from awbench.report import tables",
    "__init__": "def __getattr__(name):\n    from awbench.models import resnet",
}


@pytest.fixture
def planted(tmp_path):
    """The problems of a small sound package with changed files."""

    def problems(changes: dict[str, str]) -> list[str]:
        for name, text in {**SOUND, **changes}.items():
            path = tmp_path / "awbench" / f"{name}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return problems_of(imports_of(tmp_path / "awbench"))

    return problems


def test_a_sound_package_has_no_problems(planted):
    assert planted({}) == []


@pytest.mark.parametrize(
    ("file", "text", "problem"),
    [
        ("errors", "from awbench.variants import Variant", "a cycle of imports: awbench.errors, awbench.variants"),
        ("errors", "def late():\n    import awbench.variants", "a cycle of imports: awbench.errors, awbench.variants"),
        ("models/resnet", "from ..training import loop", "a cycle of imports: awbench.models.resnet"),
        ("records/clock", "class A:\n    from .store import Store", "a cycle of imports: awbench.records.clock"),
        ("training/loop", "def f():\n    from awbench.cli.main import run", "an arrow up, from training to cli"),
        ("variants", "from awbench.recipes import Recipe", "an arrow up, from variants to recipes"),
        ("records/clock", "import awbench", "an arrow up, from records to "),
        ("recipes/__init__", "import awbench.records", "recipes and records must not know each other"),
        ("verdicts/claims", "from awbench.models.resnet import X", "verdicts and models must not know each other"),
        ("training/loop", "def f():\n    from ..verdicts import claims", "training and verdicts must not"),
        ("report/tables", "import torch", "report must do without"),
        ("verdicts/claims", "def f():\n    with x:\n        from torch import nn", "must do without"),
        ("variants", "def f():\n    import torchvision.models", "variants must do without"),
        ("records/store", "import torch", "records must do without"),
        ("cli/main", "import torch", "cli must do without"),
        ("attic/old", "from awbench.errors import UserError", "attic has no place in the plan"),
    ],
)
def test_what_breaks_the_plan_is_found(planted, file, text, problem):
    (found,) = [line for line in planted({file: text}) if problem in line]
    assert f"awbench.{file.replace('/', '.').removesuffix('.__init__')}" in found


@pytest.mark.parametrize(
    "argv",
    [
        ["-c", "import awbench.results, awbench.report.tables"],
        *(
            ["-m", "awbench", *command.split()]
            for command in ("--help", "list", "table claims", "table accuracy", "plan")
        ),
    ],
    ids=lambda argv: " ".join(argv[1:]),
)
def test_what_only_reads_and_judges_does_not_load_torch(argv, tmp_path):
    run = subprocess.run(
        [sys.executable, "-X", "importtime", *argv], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loaded = {line.rsplit("|", 1)[-1].strip() for line in run.stderr.splitlines() if line.startswith("import time:")}
    assert "awbench" in loaded and loaded.isdisjoint({"torch", "torchvision"})
