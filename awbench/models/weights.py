"""Checkpoint files to networks: ours, torchvision's, the official CBAM code's and timm's.

A file is data and never code: safetensors, or pickles through torch's weights-only reader. Its
layout is recognised by its keys, mapped to our names and must fit the network exactly.
"""

from __future__ import annotations

import hashlib
import http.client
import importlib
import json
import pickle
import re
import warnings
from collections import Counter
from collections.abc import Iterable, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from awbench.attention.aw_convolution import AWConv2d
from awbench.errors import UserError, suggestion
from awbench.records import atomic
from awbench.variants import ARCHITECTURES, ATTENTION_MODULES, Variant, classification_name, describe_options

_METADATA_KEY = "awbench"  # one key: safetensors writes several in random order, and equal weights make equal files
_LISTED = 5
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")  # DistributedDataParallel, torch.compile
_COUNTER = ".num_batches_tracked"  # absent before PyTorch 0.4.1, and unused at our norms' momentum
# torchvision's convention, and torch.hub's: the first 8 hexadecimal digits of the file's own sha256.
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8})\.pth$")


@dataclass(frozen=True)
class LoadedWeights:
    """What was read from a checkpoint file into a network.

    Attributes:
        path: the file.
        sha256: of the whole file, in hexadecimal.
        layout: whose names the file uses: "awbench", "torchvision", "cbam", "timm" or "timm-legacy".
        published_sha256: True where the file's name carries a hash, which matched; None where none is known.
        stride_placement: "v1" or "v1.5", which the weights were made for; None if unknown or without bottlenecks.
        notes: what the user should know, one sentence each.
    """

    path: Path
    sha256: str
    layout: str
    published_sha256: bool | None
    stride_placement: str | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Layout:
    """One naming of a residual network's tensors.

    Attributes:
        name: as in LoadedWeights.
        marker: part of a key that no other layout has.
        renames: (pattern, replacement) pairs that give our names.
        stride_placement: of the bottlenecks in the code that made it.
        note: where that code differs from ours in what no weight shows.
    """

    name: str
    marker: str
    renames: tuple[tuple[str, str], ...]
    stride_placement: str | None
    note: str = ""


# timm's models/senet.py: SEResNetBottleneck has its stride in conv1, SENet its pooling in pool0.
_TIMM_LEGACY = _Layout(
    "timm-legacy",
    ".se_module.",
    ((r"^layer0\.", ""), (r"^last_linear\.", "fc."), (r"\.se_module\.", ".attention.")),
    "v1",
    "timm's legacy SE-ResNets pool the stem by MaxPool2d(3, 2, ceil_mode=True) without padding; "
    "this network pads by 1, so its outputs differ from theirs",
)
_TIMM = _Layout("timm", ".se.", ((r"\.se\.", ".attention."),), "v1.5")
# github.com/Jongchan/attention-module, MODELS/cbam.py and MODELS/model_resnet.py.
_CBAM = _Layout(
    "cbam",
    ".cbam.",
    (
        (r"\.cbam\.ChannelGate\.mlp\.1\.", ".attention.channel_gate.fc1."),
        (r"\.cbam\.ChannelGate\.mlp\.3\.", ".attention.channel_gate.fc2."),
        (r"\.cbam\.SpatialGate\.spatial\.", ".attention.spatial_gate."),
    ),
    "v1.5",
)
_TORCHVISION = _Layout("torchvision", "", (), "v1.5")
_OURS = _Layout("awbench", ".attention.", (), None)


def load_weights(model: nn.Module, path: str | Path, *, allow_missing_aw: bool = False) -> LoadedWeights:
    """Read a checkpoint file into a network: all of it, or on any error nothing.

    The file is safetensors or torch.save's; a state dict, or a checkpoint with one under "model" or
    "state_dict". Only batch counters of norms may be missing, and keep their values.

    Args:
        model: the network, as `awbench.build` makes it.
        path: the file.
        allow_missing_aw: initialise an AW network from the weights of its plain twin; the
            convolutions' whole attention branch may then be missing, and keeps its values.

    Raises:
        UserError: the file cannot be read, is damaged, contains more than weights, does not match the
            hash in its name, or does not fit the network; the message lists what does not fit.
    """
    path = Path(path)
    sha256, published = _checked_sha256(path)
    state, metadata = _read(path)
    layout = _recognise(state, metadata)
    state = _rename(path, state, layout)
    own = model.state_dict()
    if not own.keys() & state.keys():
        raise UserError(
            f"{path} holds no weights of a layout known here: its keys are {_shortened(state)}; "
            "known are awbench's, torchvision's ResNets, the CBAM code's, timm's seresnet and legacy_seresnet"
        )
    missing = [name for name in own if name not in state]
    branch = _aw_branch(model)
    from_plain = allow_missing_aw and not branch & state.keys()
    kept_branch = [name for name in missing if from_plain and name in branch]
    kept_counters = [name for name in missing if name.endswith(_COUNTER) and name not in kept_branch]
    kept = {name: own[name] for name in (*kept_branch, *kept_counters)}
    _check_fit(path, model, own, state, kept.keys(), metadata.get("variant"), from_plain)

    stride = metadata["options"].get("stride_placement") if metadata else layout.stride_placement
    stride = stride if any(".conv3." in name for name in state) else None
    notes = [layout.note] if layout.note else []
    notes += _option_notes(model, metadata, layout, stride)
    if kept_branch:
        notes.append(f"the AW attention branch ({len(kept_branch)} tensors) is not in the file and was left as it was")
    if kept_counters:
        notes.append(f"{len(kept_counters)} num_batches_tracked buffers are not in the file and were left as they were")
    converted = {(str(tensor.dtype), str(own[name].dtype)) for name, tensor in state.items()}
    notes += [f"converted from {theirs} to {ours}" for theirs, ours in sorted(converted) if theirs != ours]
    model.load_state_dict({**state, **kept}, strict=True)
    return LoadedWeights(path, sha256, layout.name, published, stride, tuple(notes))


def save_weights(model: nn.Module, path: str | Path, metadata: dict[str, str] | None = None) -> None:
    """Write a network's weights as safetensors: whole or not at all, and equal weights as equal bytes.

    Args:
        model: the network; its variant and options are put into the file's metadata.
        path: the file to write; its folder is made.
        metadata: more to put there. "variant" and "options" are always the network's own.

    Raises:
        OSError: the disk is full or the folder cannot be written; an older file is intact.
    """
    description = {**(metadata or {}), **_description(model)}
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    header = {_METADATA_KEY: json.dumps(description, sort_keys=True)}
    atomic.write_bytes(Path(path), safetensors.torch.save(state, metadata=header))


def load_torchvision_weights(model: nn.Module, name: str, *, allow_missing_aw: bool = False) -> LoadedWeights:
    """Read torchvision's published weights into a network, through torch.hub's cache.

    Args:
        model: an ImageNet network, plain or AW, of 1000 classes.
        name: e.g. "IMAGENET1K_V1"; "DEFAULT" is torchvision's newest.
        allow_missing_aw: as in `load_weights`; an AW network needs it.

    Raises:
        UserError: no such weights, no network to download them over, or as `load_weights`.
    """
    import torchvision

    variant: Variant = model.variant  # type: ignore[assignment]
    if variant.attention or variant.architecture.stem != "imagenet":
        raise UserError(f"torchvision has no weights of {variant.name}; it has plain ImageNet ones, e.g. of resnet50")
    published = torchvision.models.get_model_weights(f"resnet{variant.depth}").__members__
    if name not in published:
        raise UserError(
            f"torchvision has no weights {name!r} of resnet{variant.depth}{suggestion(name, published)} "
            f"Known: {', '.join(published)}."
        )
    url = str(published[name].url)
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.exists():
        # Not load_state_dict_from_url: it prints on stdout, unpacks zips and trusts what it finds in its cache.
        expected = _HASH_IN_NAME.search(path.name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), expected.group(1) if expected else None)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            raise UserError(
                f"cannot download {url}: {_first_line(error)}; fetch it where there is a network, and put it at {path}"
            ) from None
    return load_weights(model, path, allow_missing_aw=allow_missing_aw)


def _checked_sha256(path: Path) -> tuple[str, bool | None]:
    """(sha256 of the file, True if its name carries a matching hash or None if it carries none)."""
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
    named = _HASH_IN_NAME.search(path.name)
    if named and not sha256.startswith(named.group(1)):
        raise UserError(
            f"{path} is not the file its name says: its sha256 begins with {sha256[:8]}, not {named.group(1)}; "
            "download it again, or rename it if the name is yours"
        )
    return sha256, True if named else None


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """(state dict as the file names it, our metadata or an empty dict)."""
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] == b"{":  # first: the header's length, before it, may begin as a pickle does
        return _read_safetensors(path)
    if head.startswith((b"PK\x03\x04", b"\x80")):
        return _read_pickle(path), {}
    raise UserError(
        f"{path} is neither a safetensors file nor one that torch.save writes; it begins with {head.hex(' ')}"
    )


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except Exception as error:  # a damaged header can fail as anything
        raise _damaged(path, error) from None
    if not state:
        raise UserError(f"{path} holds no weights: it is a safetensors file without tensors")
    if _METADATA_KEY not in header:
        return state, {}
    try:
        metadata = json.loads(header[_METADATA_KEY])
        if "variant" not in metadata:
            return state, {}
        options = dict(metadata["options"])
        options["aw"] = dict(options.get("aw", {}))
        return state, {"variant": _printable(metadata["variant"]), "options": options}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise UserError(
            f"{path} has unreadable metadata under {_METADATA_KEY!r}; save it again with awbench's save_weights"
        ) from None


def _read_pickle(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols and TorchScript, which end in an error here
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        what = _printable(named.group(1)) if named else "pickle instructions of no state dict"
        raise _more_than_weights(path, what) from None
    except Exception as error:  # a damaged pickle can fail as anything
        if "TorchScript" in str(error):
            raise _more_than_weights(path, "a TorchScript program") from None
        raise _damaged(path, error) from None
    for candidate in (content, *(content.get(key) for key in ("model", "state_dict") if isinstance(content, dict))):
        if isinstance(candidate, dict) and candidate and all(map(_is_entry, candidate.items())):
            return dict(candidate)
    found = f"a dict with keys {_shortened(content)}" if isinstance(content, dict) else type(content).__name__
    raise UserError(
        f"{path} holds {found}; expected a state dict, or a checkpoint with one under 'model' or 'state_dict'"
    )


def _is_entry(item: tuple[Any, Any]) -> bool:
    """Whether (key, value) is one of a state dict: a name and a dense tensor that has its data."""
    name, tensor = item
    dense = type(tensor) in (Tensor, nn.Parameter) and tensor.layout is torch.strided and not tensor.is_meta
    return isinstance(name, str) and dense


def _more_than_weights(path: Path, what: str) -> UserError:
    return UserError(
        f"{path} contains more than weights ({what}): loading it could run code, so it is refused; "
        "save the state dict alone, as safetensors or with torch.save"
    )


def _damaged(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is damaged or truncated ({_first_line(error)}); copy or download it again")


def _first_line(error: BaseException) -> str:
    return _printable(str(error).strip().partition("\n")[0].rstrip(". ")) or type(error).__name__


def _printable(text: Any) -> str:
    """Text of a file's making, short and on one line."""
    text = str(text)[:200]
    return text if text.isprintable() else ascii(text)


def _recognise(state: dict[str, Tensor], metadata: dict[str, Any]) -> _Layout:
    """The layout by its keys. A plain network of ours has torchvision's keys; only our metadata tells them apart."""
    if metadata:
        return _OURS
    for layout in (_TIMM_LEGACY, _TIMM, _CBAM, _OURS):
        if any(layout.marker in key for key in state):
            return layout
    return _TORCHVISION if any("layer4." in key for key in state) else _OURS  # CIFAR-style: three stages


def _rename(path: Path, state: dict[str, Tensor], layout: _Layout) -> dict[str, Tensor]:
    """The state dict under our names, 1x1 convolutions (A, B, 1, 1) of timm's SE as linear layers (A, B)."""
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = _WRAPPERS.sub("", key)
        for pattern, replacement in layout.renames:
            name = re.sub(pattern, replacement, name)
        if name in renamed:
            raise UserError(f"{path} has two tensors for {name}, one of them named {key}; a checkpoint has one of each")
        if layout in (_TIMM, _TIMM_LEGACY) and ".attention.fc" in name and tensor.shape[2:] == (1, 1):
            tensor = tensor.flatten(1)
        renamed[name] = tensor
    return renamed


def _aw_branch(model: nn.Module) -> set[str]:
    """The names of every tensor that an AW-convolution has and a plain one has not."""
    return {
        f"{name}.attention.{tensor}"
        for name, module in model.named_modules()
        if isinstance(module, AWConv2d)
        for tensor in module.attention.state_dict()
    }


def _check_fit(
    path: Path,
    model: nn.Module,
    own: dict[str, Tensor],
    state: dict[str, Tensor],
    kept: Set[str],
    saved_variant: str | None,
    from_plain: bool,
) -> None:
    """Raise a UserError unless `state`, with the `kept` names, has exactly the names, shapes and types of `own`."""
    variant: Variant | None = getattr(model, "variant", None)
    network = variant.name if variant else type(model).__name__
    twin = classification_name(variant.depth, variant.attention, False) if variant and variant.aw else None
    fitting = (network, twin) if from_plain else (network,)

    def held_by(other: str, how: str = "") -> str:
        hint = "; allow_missing_aw=True initialises it from them" if other == twin else ""
        return f"{path} holds weights of {other}{how}; this network is {network}{hint}"

    if variant and saved_variant and saved_variant not in fitting:
        raise UserError(held_by(saved_variant))
    common = [name for name in own if name in state]
    missing = [name for name in own if name not in state and name not in kept]
    unexpected = [name for name in state if name not in own]
    shapes = [name for name in common if state[name].shape != own[name].shape]
    types = [name for name in common if not _converts(state[name].dtype, own[name].dtype)]
    if shapes == ["fc.weight", "fc.bias"] and not (missing or unexpected) and state["fc.weight"].dim() == 2:
        theirs, ours = tuple(state["fc.weight"].shape), tuple(own["fc.weight"].shape)
        raise UserError(
            f"{path} is for {theirs[0]} classes, this network for {ours[0]}: fc.weight is {theirs} there and "
            f"{ours} here; build with num_classes={theirs[0]}"
        )
    problems = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": [f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}" for name in shapes],
        "of another type": [f"{name} {state[name].dtype} for {own[name].dtype}" for name in types],
    }
    listed = [f"{what}: {_shortened(names)}" for what, names in problems.items() if names]
    if listed:
        likely = _variant_by_names(state.keys())
        head = f"{path} does not fit this network, {network}"
        if variant and likely and likely not in fitting:
            head = held_by(likely, " by its keys")
        raise UserError("; ".join([head, *listed]))


def _converts(theirs: torch.dtype, ours: torch.dtype) -> bool:
    return theirs == ours or (theirs in _FLOATS and ours in _FLOATS)


def _shortened(names: Iterable[Any]) -> str:
    listed = [_printable(name) for name in names]
    more = f" and {len(listed) - _LISTED} more" if len(listed) > _LISTED else ""
    return ", ".join(listed[:_LISTED]) + more


def _variant_by_names(names: Set[str]) -> str | None:
    """The variant that has these names, as far as blocks and attention modules tell, or None."""
    blocks = {match.groups() for name in names if (match := re.match(r"layer(\d)\.(\d+)\.", name))}
    per_stage = tuple(count for _, count in sorted(Counter(stage for stage, _ in blocks).items()))
    block = "bottleneck" if any(".conv3." in name for name in names) else "basic"
    depths = [d for d, a in ARCHITECTURES.items() if (a.blocks_per_stage, a.block) == (per_stage, block)]
    prefix = "layer1.0.attention."
    tensors = {name.removeprefix(prefix) for name in names if name.startswith(prefix) and not name.endswith(_COUNTER)}
    attention = next((attention for attention, expected in _attention_names().items() if expected == tensors), None)
    if not depths or (tensors and not attention):
        return None
    return classification_name(depths[0], attention, aw=any(".pointconv1." in name for name in names))


def _attention_names() -> dict[str, set[str]]:
    """The tensors of every attention module on activations."""
    names = {}
    for attention, entry in ATTENTION_MODULES.items():
        module, _, class_name = entry.path.partition(":")
        with torch.device("meta"):
            tensors = getattr(importlib.import_module(module), class_name)(64).state_dict()
        names[attention] = {name for name in tensors if not name.endswith(_COUNTER)}
    return names


def _description(model: nn.Module) -> dict[str, Any]:
    """The network's variant and options as plain JSON values; nothing for one that is not of the grid."""
    variant: Variant | None = getattr(model, "variant", None)
    if variant is None:
        return {}
    options = describe_options(variant, model.options)  # type: ignore[arg-type]  # a ResNet's ModelOptions
    return {"variant": variant.name, "options": options}


def _option_notes(model: nn.Module, metadata: dict[str, Any], layout: _Layout, stride: str | None) -> list[str]:
    """Where the network was built otherwise than the one the weights were made in, though every tensor fits."""
    own = _description(model).get("options", {})
    notes = []
    if own and stride and stride != own["stride_placement"]:
        source = "these weights are" if metadata else f"weights of the {layout.name} layout are"
        notes.append(
            f"{source} for stride placement {stride}, this network has {own['stride_placement']}; "
            f"build with stride_placement={stride!r} to compute what they were trained for"
        )
    ours, theirs = own.get("aw", {}), metadata["options"]["aw"] if metadata else {}
    notes += [
        f"saved with AW option {option}={_printable(value)}, this network has {ours[option]}"
        for option, value in theirs.items()
        if option in ours and ours[option] != value
    ]
    return notes
