"""Checkpoint files as data: safetensors, what torch.save writes, and Detectron2's pickles of numpy arrays.

A file is recognised by its content, not by its name. No code in a file is ever run: torch's pickles are read by its
weights-only reader, Detectron2's by `pickled_arrays`, which calls nothing that a file names.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import safetensors
import torch
from torch import Tensor, nn

from awbench.data.pixels import Pixels
from awbench.errors import UserError
from awbench.models.pickle_depth import check_depth
from awbench.models.pickled_arrays import Call, ForbiddenPickle, read_recorded, to_tensor

METADATA_KEY = "awbench"  # one key: safetensors writes several in random order, and equal weights make equal files
# torchvision's convention, and torch.hub's: the first 8 hexadecimal digits of the file's own sha256.
HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.pth$")
_LISTED = 5
_AVERAGED = ("model_ema", "state_dict_ema", "ema_state_dict", "ema", "ema_model")  # torchvision, timm, mmcv, others
# Files whose "state_dict" has the averaged weights: what tells them, and where they have the plain ones.
_SWAPPED = (("message_hub", "ema_state_dict"), ("averaging_state", "current_model_state"))  # MMEngine's, Lightning's
# torch.save's format before zip files is a row of pickles; the first is this number.
_TORCH_LEGACY = 0x1950A86A20F9469CFC6C.to_bytes(10, "little")
_LEGACY_PICKLES = 5  # that number, the protocol, the system's, the content, the keys of its storages


class _Ignored:
    """What stands for an object beside the weights: nothing of it is made, and nothing of its class is imported."""

    def __init__(self, *arguments: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


# What training scripts of others (torchvision, timm, Lightning, MMEngine) keep beside weights, by name.
_IGNORED: list[Any] = [
    *(
        (type(name.rpartition(".")[2], (_Ignored,), {}), name)
        for name in (
            "argparse.Namespace", "pathlib.PosixPath", "pathlib.PurePosixPath", "pathlib.WindowsPath",
            *(f"numpy.{core}.multiarray.{made}" for core in ("core", "_core") for made in ("scalar", "_reconstruct")),
            "numpy.dtype", "numpy.ndarray",
            *(f"numpy.dtypes.{kind}DType" for kind in (
                "Bool", "Int8", "Int16", "Int32", "Int64", "UInt8", "UInt16", "UInt32", "UInt64", "Float16", "Float32",
                "Float64", "Str",
            )),
            "mmengine.logging.history_buffer.HistoryBuffer",
        )
    ),
    *(
        (dict, f"{package}.AttributeDict")
        for package in (
            "pytorch_lightning.utilities.parsing", "lightning.pytorch.utilities.parsing",
            "lightning_fabric.utilities.data", "lightning.fabric.utilities.data",
        )
    ),
]  # fmt: skip


@dataclass(frozen=True)
class CheckpointFile:
    """What a checkpoint file holds.

    Attributes:
        path: the file.
        sha256: of the whole file, in hexadecimal.
        published_sha256: True where the file's name carries a hash, which matched; None where none is known.
        state: the tensors, as the file names them.
        metadata: "variant", "options" and, of a detector, "pixels" where `save_weights` wrote the file; else empty.
        author: what a Detectron2 file has under "__author__", or None.
        notes: what the user should know, one sentence each.
    """

    path: Path
    sha256: str
    published_sha256: bool | None
    state: dict[str, Tensor]
    metadata: dict[str, Any]
    author: str | None = None
    notes: tuple[str, ...] = ()


def read_checkpoint(path: Path, averaged: bool = False) -> CheckpointFile:
    """Read a file of tensors: safetensors, torch.save's, or a pickle of numpy arrays.

    Pickles hold a state dict, or a checkpoint with one under "model", "state_dict" or, Detectron's, "blobs".

    Args:
        averaged: read the averaged (EMA) weights that a training keeps beside the plain ones.

    Raises:
        UserError: the file cannot be read, is damaged, contains more than weights, does not match
            the hash in its name, or has no averaged weights.
    """
    sha256, published = _checked_sha256(path)
    with path.open("rb") as file:
        head = file.read(32)
    is_torch = head.startswith(b"PK\x03\x04") or (head.startswith(b"\x80") and _TORCH_LEGACY in head)
    if averaged and not is_torch:
        raise UserError(f"{path} has no averaged (EMA) weights beside others: torch.save writes such files")
    if head[8:9] == b"{" and not is_torch:  # first: the header's length, before it, may begin as a pickle does
        return CheckpointFile(path, sha256, published, *_read_safetensors(path))
    if is_torch:
        state, notes = _read_torch(path, averaged)
        return CheckpointFile(path, sha256, published, state, {}, notes=notes)
    if head.startswith(b"\x80"):
        state, author = _read_arrays(path)
        return CheckpointFile(path, sha256, published, state, {}, author)
    raise UserError(
        f"{path} is neither a safetensors file nor one that torch.save or Detectron2 writes; "
        f"it begins with {head[:9].hex(' ')}"
    )


def first_line(error: BaseException) -> str:
    """An error's message, short and on one line; its type where it has none."""
    return printable(str(error).strip().partition("\n")[0].rstrip(". ")) or type(error).__name__


def printable(value: Any) -> str:
    """A value that a file contains, short and on one line."""
    try:
        text = str(value)[:200]
    except (ValueError, RecursionError):  # an int of thousands of digits, or deep nesting
        return type(value).__name__
    return text if text.isprintable() else ascii(text)


def shortened(names: Iterable[Any]) -> str:
    """The first few names, and how many more there are."""
    listed = [printable(name) for name in names]
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more


def _checked_sha256(path: Path) -> tuple[str, bool | None]:
    """(sha256 of the file, True if its name carries a matching hash or None if it carries none)."""
    if path.is_dir() and (path / ".metadata").exists():
        raise UserError(
            f"{path} is a folder of torch.distributed.checkpoint; make one file of it: "
            f"python -m torch.distributed.checkpoint.format_utils dcp_to_torch {path} FILE"
        )
    if path.is_dir():
        raise UserError(f"{path} is a folder; give the checkpoint file in it")
    if not path.exists():
        raise UserError(f"{path} does not exist; give a checkpoint file")
    if not path.is_file():
        raise UserError(f"{path} is not a regular file; give a checkpoint file")
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty; give a checkpoint file")
    named = HASH_IN_NAME.search(path.name)
    if named and not sha256.startswith(named.group(1)):
        raise UserError(
            f"{path} is not the file its name says: its sha256 begins with {sha256[:8]}, not {named.group(1)}; "
            "download it again, or rename it if the name is yours"
        )
    return sha256, True if named else None


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(state dict as the file names it, our metadata or an empty dict)."""
    try:
        with _name_of_utf8(path) as name, safetensors.safe_open(name, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # a damaged header can fail as anything
        raise _damaged(path, error) from None
    if not state:
        raise UserError(f"{path} holds no weights: it is a safetensors file without tensors")
    if METADATA_KEY not in header:
        return state, {}
    try:
        metadata = json.loads(header[METADATA_KEY])
        if "variant" not in metadata:
            return state, {}
        options = dict(metadata["options"])
        options["aw"] = dict(options.get("aw", {}))
        kept: dict[str, Any] = {"variant": printable(metadata["variant"]), "options": options}
        if "pixels" in metadata:
            pixels = json.loads(metadata["pixels"])
            kept["pixels"] = Pixels(pixels["order"], tuple(pixels["mean"]), tuple(pixels["std"]))
        return state, kept
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UserError(
            f"{path} has unreadable metadata under {METADATA_KEY!r}; save it again with awbench's save_weights"
        ) from None


@contextlib.contextmanager
def _name_of_utf8(path: Path) -> Iterator[Path]:
    """The path or, where its bytes are no UTF-8, which safetensors refuses, another name of the file, opened."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield Path(f"/dev/fd/{file.fileno()}")
    else:
        yield path


def _read_torch(path: Path, averaged: bool) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """(state dict as the file names it, notes)."""
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols and TorchScript, which end in an error here
            check_torch_file(file)
            file.seek(0)
            with torch.serialization.safe_globals(_IGNORED):
                content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = printable(named.group(1)) if named else "pickle instructions of no state dict"
        raise _more_than_weights(path, what) from None
    except Exception as error:  # a damaged pickle can fail as anything
        if "TorchScript" in str(error):
            raise _more_than_weights(path, "a TorchScript program") from None
        raise _damaged(path, error) from None
    entries = content if isinstance(content, dict) else {}
    averages, plain = [key for key in _AVERAGED if isinstance(entries.get(key), dict)], content
    for mark, key in _SWAPPED:
        if mark in entries and isinstance(entries.get(key), dict):
            averages, plain = ["state_dict"], _without_counters(entries[key])
    if averaged:
        if not averages:
            raise UserError(f"{path} has no averaged (EMA) weights; such are under {', '.join(_AVERAGED)}")
        note = f"its averaged (EMA) weights, under {averages[0]!r}, were read"
        return _state_dict(path, _without_counters(entries[averages[0]]), _is_tensor), (note,)
    state = _state_dict(path, plain, _is_tensor)
    notes = [
        f"it also holds averaged (EMA) weights, under {key!r}; the plain ones were read, --ema reads these"
        for key in averages
    ]
    others = [key for key, value in entries.items() if key not in averages and _are_other_weights(value, state)]
    notes += [f"it also holds weights under {printable(key)!r}, which were not read" for key in others]
    return state, tuple(notes)


def _without_counters(entry: dict[Any, Any]) -> dict[Any, Any]:
    """Averaged weights without how often they were averaged: torch's and MMEngine's name of it."""
    return {name: value for name, value in entry.items() if name not in ("n_averaged", "steps")}


def _are_other_weights(entry: Any, state: dict[str, Tensor]) -> bool:
    """Whether it has tensors of the same names, and not the very same."""
    if not isinstance(entry, dict) or not all(isinstance(name, str) for name in entry):
        return False
    named = {name.removeprefix("module."): value for name, value in entry.items()}
    own = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    return any(_is_tensor(named.get(name)) and named[name] is not own[name] for name in own)


def check_torch_file(file: BinaryIO) -> None:
    """Raises: Exception: what torch's reader would not survive, or need far more memory for than the file has bytes."""
    if not zipfile.is_zipfile(file):
        file.seek(0)
        for _ in range(_LEGACY_PICKLES):
            check_depth(file)
        return
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("its entries are compressed, which torch.save never does")
        if sum(entry.file_size for entry in entries) > file.seek(0, io.SEEK_END):
            raise ValueError("its entries have more bytes than the file")
        for entry in entries:
            if entry.filename.endswith(".pkl"):
                check_depth(io.BytesIO(archive.read(entry)))


def _read_arrays(path: Path) -> tuple[dict[str, Tensor], str | None]:
    """(state dict of a pickle of numpy arrays, what it has under "__author__", or None)."""
    try:
        pickled = path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escape sequences in nonsense
            content = read_recorded(pickled)
    except ForbiddenPickle as found:
        raise _more_than_weights(path, printable(found)) from None
    except Exception as error:  # a damaged pickle can fail as anything
        raise _damaged(path, error) from None
    state, tensors, left = {}, dict[Call, Tensor](), len(pickled)
    for name, call in _state_dict(path, content, lambda value: isinstance(value, Call)).items():
        if name.endswith("_momentum"):  # the optimiser's, beside the weights in Detectron's files
            continue
        try:
            if call not in tensors:  # several names may share one
                tensors[call] = to_tensor(call)
                left -= tensors[call].nbytes
                if left < 0:
                    raise ValueError("the arrays take more bytes than the file has")
            state[name] = tensors[call]
        except Exception as error:
            raise UserError(f"{path} has no array of numbers for {printable(name)}: {first_line(error)}") from None
    author = content.get("__author__")
    return state, author if isinstance(author, str) else None


def _is_tensor(value: Any) -> bool:
    """Whether it is a dense tensor that has its data."""
    return type(value) in (Tensor, nn.Parameter) and value.layout is torch.strided and not value.is_meta


def _state_dict(path: Path, content: Any, is_entry: Callable[[Any], bool]) -> dict[str, Any]:
    """The dict in a pickle's content that has names for keys, and nothing but entries of a state dict for values."""
    keys = ("model", "state_dict", "blobs")
    for candidate in (content, *(content.get(key) for key in keys if isinstance(content, dict))):
        named = isinstance(candidate, dict) and candidate and all(isinstance(name, str) for name in candidate)
        if named and any("_flat_param" in name for name in candidate):
            raise UserError(
                f"{path} holds FSDP's flattened parameters, a part of a network; save it with "
                "StateDictType.FULL_STATE_DICT"
            )
        if named and all(map(is_entry, candidate.values())):
            return dict(candidate)
    found = f"a dict with keys {shortened(content)}" if isinstance(content, dict) else type(content).__name__
    raise UserError(
        f"{path} holds {found}; expected a state dict, or a checkpoint with one under 'model' or 'state_dict'"
    )


def _more_than_weights(path: Path, what: str) -> UserError:
    return UserError(
        f"{path} contains more than weights ({what}): loading it could run code, so it is refused; "
        "save the state dict alone, as safetensors or with torch.save"
    )


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is damaged or truncated ({first_line(error)}); copy or download it again")
