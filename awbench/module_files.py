"""Python source read without importing it: where a class is, what it declares, and a digest of its code."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.machinery
import importlib.util
import io
import pkgutil
import sys
import tokenize
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from awbench.errors import UserError, suggestion
from awbench.system import open_regular

_INSTALLED = ("site-packages", "dist-packages")


def locate(module: str) -> Path:
    """The source file of a Python module, below the current folder or on sys.path; nothing is imported.

    Raises:
        UserError: there is none, or it is not Python source.
    """
    where, spec = [], None
    for name in module.split("."):
        where.append(name)
        spec = _find_spec(".".join(where), spec)
        if spec is None:
            raise UserError(
                f"there is no Python module {'.'.join(where)} in the current folder ({Path.cwd()}) or on sys.path; "
                "install it, or name the file that is there without its .py"
            )
    if spec is None or not spec.origin or not spec.origin.endswith(".py"):
        raise UserError(f"{module} is not a file of Python source, so its class and its digest cannot be read")
    return Path(spec.origin)


def _find_spec(name: str, parent: importlib.machinery.ModuleSpec | None) -> importlib.machinery.ModuleSpec | None:
    if parent is not None:
        return _find_below(name, parent.submodule_search_locations or [])
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.append(str(Path.cwd()))  # as `python -m` does, but last: a file here hides nothing installed
    importlib.invalidate_caches()
    try:
        return importlib.util.find_spec(name) if name else None  # of a name without dots it imports nothing
    except (ImportError, ValueError):
        return None


def _find_below(name: str, folders: Iterable[str]) -> importlib.machinery.ModuleSpec | None:
    """As importlib's PathFinder, which can look below a package without `__init__.py` only once that is imported."""
    portions: list[str] = []
    for folder in folders:
        finder = pkgutil.get_importer(folder)
        spec = finder.find_spec(name) if finder else None
        if spec is not None and spec.loader is not None:
            return spec
        portions += (spec.submodule_search_locations or []) if spec else []
    if not portions:
        return None
    package = importlib.machinery.ModuleSpec(name, None, is_package=True)
    package.submodule_search_locations = portions
    return package


def parse(path: Path) -> ast.Module:
    """Raises: UserError: it cannot be read, or is not Python; says the line."""
    try:
        with open_regular(path) as file:
            return ast.parse(file.read(), str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise UserError(f"{path}{line}: not valid Python: {getattr(error, 'msg', error)}") from None


def find_class(module: str, name: str) -> tuple[Path, ast.ClassDef]:
    """A class by its name in a Python module, `from ... import` followed: (its file, its syntax tree).

    Raises:
        UserError: no such module, or no such class in it.
    """
    return _find_class(f"{module}:{name}", module, name, set())


def _find_class(asked: str, module: str, name: str, seen: set[tuple[str, str]]) -> tuple[Path, ast.ClassDef]:
    """`find_class`. Args: asked, for errors; seen, the (module, name) where it was looked for."""
    if (module, name) in seen:
        raise UserError(f"{asked} is imported in a circle, by {module}; name the file that has the class")
    seen.add((module, name))
    path = locate(module)
    statements = list(_top_level(parse(path).body))
    classes = {one.name: one for one in statements if isinstance(one, ast.ClassDef)}
    if name in classes:
        return path, classes[name]
    named, starred = _imported_from(statements, name, module, path)
    faults = []
    for origin, name_there in (*named, *((origin, name) for origin in starred)):
        try:
            return _find_class(asked, origin, name_there, seen)
        except UserError as fault:  # as of the first import of `try: ... except ImportError: ...`
            faults.append(fault)
    if named:
        raise faults[0]
    made = next((one.lineno for one in statements if name in _assigned(one)), None)
    if made:
        raise UserError(
            f"{asked} cannot be read: {path}, line {made} computes {name} when it is imported; name a class that "
            "stands in a file as `class ...`, e.g. a subclass of it"
        )
    raise UserError(
        f"{asked} does not exist: {path} has no class {name}{suggestion(name, classes)} "
        f"Its classes: {', '.join(classes) or 'none'}."
    )


def _assigned(statement: ast.stmt) -> list[str]:
    """The names that a statement defines, other than as classes."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [one.id for one in targets if isinstance(one, ast.Name)]


def _top_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements of a module, those under `if` and `try` among them."""
    for statement in body:
        yield statement
        if isinstance(statement, (ast.If, ast.Try)):
            handlers = statement.handlers if isinstance(statement, ast.Try) else []
            for body in (statement.body, *(one.body for one in handlers), statement.orelse):
                yield from _top_level(body)
            yield from _top_level(getattr(statement, "finalbody", []))


def _imported_from(
    statements: Sequence[ast.stmt], name: str, module: str, path: Path
) -> tuple[list[tuple[str, str]], list[str]]:
    """(module, name there) of every `from module import name`, and the module of every `from module import *`."""
    named, starred = list[tuple[str, str]](), list[str]()
    for statement in statements:
        if isinstance(statement, ast.ImportFrom):
            origin = _absolute(statement, module, path)
            for alias in statement.names:
                if (alias.asname or alias.name) == name:
                    named.append((origin, alias.name))
                elif alias.name == "*":
                    starred.append(origin)
    return named, starred


def _absolute(statement: ast.ImportFrom, module: str, path: Path) -> str:
    """The module that a `from ... import` in `module` names, without leading dots."""
    parts = module.split(".") if path.name == "__init__.py" else module.split(".")[:-1]
    base = parts[: len(parts) - statement.level + 1] if statement.level else []
    return ".".join([*base, *([statement.module] if statement.module else [])])


def literal_of(path: Path, found: ast.ClassDef, attribute: str) -> Any:
    """The value of a class attribute that is written out; None where there is none.

    Raises:
        UserError: it has to be computed.
    """
    for statement in found.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        value = getattr(statement, "value", None)
        if value is not None and any(isinstance(one, ast.Name) and one.id == attribute for one in targets):
            try:
                return ast.literal_eval(value)
            except ValueError:
                where = f"{path}, line {statement.lineno}"
                raise UserError(f"{where}: {attribute} must be written out, to be read without importing it") from None
    return None


def digest_of(module: str, name: str) -> str:
    """sha256 of the code of a class's file and of what its module imports of its own package, or of its own folder.

    Comments and docstrings are left out. Of an installed package it is the class's file alone: all else is known by its
    version. Which class it is belongs to it wherever that file has others, or is not the module that was named.

    Raises:
        UserError: as `find_class`.
    """
    path, found = find_class(module, name)
    files = {path.name: path} if _is_installed(path) else _closure(module)
    digest = hashlib.sha256()
    for file_name, file in sorted(files.items()):
        digest.update(file_name.encode() + b"\0" + code_of(file, whole_strings=True).encode() + b"\0")
    classes = [one for one in _top_level(parse(path).body) if isinstance(one, ast.ClassDef)]
    if len(classes) > 1 or path != locate(module):
        folder = _home(module)
        where = path.relative_to(folder).as_posix() if folder in path.parents else path.name
        digest.update(f"{where}:{found.name}".encode())
    return digest.hexdigest()


def _home(module: str) -> Path:
    """The folder of its own package, or of its own file."""
    return (_path_or_none(module.split(".")[0]) or locate(module)).parent


def _closure(module: str) -> dict[str, Path]:
    """Name -> file of the module and of all of its own that it imports, directly or not."""
    folder = _home(module)
    found: dict[str, Path] = {}
    left = [module]
    while left:
        name = left.pop()
        if name in found or name.split(".")[0] == "awbench":
            continue
        path = _path_or_none(name)
        if path is None or folder not in path.parents or _is_installed(path):  # in an environment below the folder
            continue
        found[name] = path
        left += [name.rpartition(".")[0]] if "." in name else []  # a package's __init__ runs before its modules
        for node in ast.walk(parse(path)):
            if isinstance(node, ast.Import):
                left += [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                base = _absolute(node, name, path)
                left += [base, *(f"{base}.{alias.name}" for alias in node.names)]
    return found


def _is_installed(path: Path) -> bool:
    return any(part in _INSTALLED for part in path.parts)


def _path_or_none(module: str) -> Path | None:
    try:
        return locate(module)
    except UserError:
        return None


def code_of(path: Path, whole_strings: bool = False) -> str:
    """A source file's lines without blank ones, lines of comment and docstrings; no locale changes them.

    Args:
        whole_strings: keep all lines inside strings, as of a kernel's source, and those that a docstring shares with
            code. The digest of trainings, by which existing records are found, is older and is without.
    """
    with tokenize.open(path) if path.suffix == ".py" else path.open(encoding="utf-8") as file:
        text = file.read()
    if path.suffix != ".py":
        return "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))
    lines = text.split("\n")  # as Python counts them
    dropped = {number for number, line in enumerate(lines, 1) if not line.strip() or line.lstrip().startswith("#")}
    dropped -= _inside_strings(text) if whole_strings else set()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) or not node.body:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and first.end_lineno:
            before = lines[first.lineno - 1].encode()[: first.col_offset]
            after = lines[first.end_lineno - 1].encode()[first.end_col_offset :].strip()
            is_alone = not before.strip() and (not after or after.startswith(b"#"))
            if is_alone or not whole_strings:
                dropped |= set(range(first.lineno, first.end_lineno + 1))
    return "\n".join(line for number, line in enumerate(lines, 1) if number not in dropped)


def _inside_strings(text: str) -> set[int]:
    """The lines that begin inside a string, where a blank or a # is no comment."""
    found, begun = set[int](), list[int]()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        if kind == "FSTRING_START":
            begun.append(token.start[0])
        elif kind in ("STRING", "FSTRING_END"):
            start = begun.pop() if kind == "FSTRING_END" else token.start[0]
            found |= set(range(start + 1, token.end[0] + 1))
    return found


@functools.cache
def version_of(top: str) -> str:
    """The version of the installed distribution that a top-level module belongs to; "none" for a file on its own."""
    import importlib.metadata

    names = importlib.metadata.packages_distributions().get(top, [])
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in sorted(set(names))) or "none"
