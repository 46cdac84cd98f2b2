"""Checkpoint files to networks: whole classifiers, or the backbones of detectors.

`checkpoint_files` reads a file, `layouts` gives its tensors our names; here they must fit the network exactly.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn

from awbench.data.pixels import IMAGENET_RGB, Pixels
from awbench.errors import UserError, suggestion
from awbench.models.checkpoint_files import (
    HASH_IN_NAME,
    METADATA_KEY,
    CheckpointFile,
    first_line,
    printable,
    read_checkpoint,
    shortened,
)
from awbench.models.layouts import (
    COUNTER,
    Layout,
    backbone_entries,
    complete_biases,
    complete_caffe2,
    detector_prefix,
    recognise,
    recognise_variant,
    rename,
)
from awbench.modules import modules
from awbench.records import atomic
from awbench.variants import (
    Variant,
    classification_name,
    describe_options,
    list_variants,
)

_COMPLETED = {"caffe2": complete_caffe2, "senet.pytorch": complete_biases}
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


@dataclass(frozen=True)
class LoadedWeights:
    """What was read from a checkpoint file into a network.

    Attributes:
        path: the file.
        sha256: of the whole file, in hexadecimal.
        layout: whose names the file uses: "awbench", "torchvision", "cbam", "eca", "senet.pytorch", "timm",
            "timm-legacy", "detectron2" or "caffe2".
        published_sha256: True where the file's name carries a hash, which matched; None where none is known.
        stride_placement: "v1" or "v1.5", which the weights were made for; None if unknown or without bottlenecks.
        pixels: what the weights were trained on, as far as the layout or the file tells.
        notes: what the user should know, one sentence each.
    """

    path: Path
    sha256: str
    layout: str
    published_sha256: bool | None
    stride_placement: str | None
    pixels: Pixels
    notes: tuple[str, ...]


def load_weights(
    model: nn.Module, path: str | Path, *, allow_missing_aw: bool = False, averaged: bool = False
) -> LoadedWeights:
    """Read a checkpoint file into a network: all of it, or on any error nothing.

    The file is safetensors, torch.save's, or a pickle of numpy arrays as Detectron2 publishes them; a state
    dict, or a checkpoint with one under "model" or "state_dict". Only batch counters of norms may be
    missing, and keep their values.

    Args:
        model: the network, as `awbench.build` makes it.
        path: the file.
        allow_missing_aw: initialise an AW network from the weights of its plain twin; the
            convolutions' whole attention branch may then be missing, and keeps its values.
        averaged: read the averaged (EMA) weights of a checkpoint that holds them beside the plain ones.

    Raises:
        UserError: the file cannot be read, is damaged, contains more than weights, does not match the
            hash in its name, or does not fit the network; the message lists what does not fit.
    """
    file = read_checkpoint(Path(path), averaged)
    if detector_prefix(file.state):
        raise UserError(f"{path} holds a detector, this network is a classifier; load_backbone_weights reads backbones")
    return _load(model, file, file.state, recognise(file, file.state), allow_missing_aw=allow_missing_aw)


def load_backbone_weights(
    body: nn.Module, path: str | Path, *, allow_missing_aw: bool = True, averaged: bool = False
) -> LoadedWeights:
    """Read the backbone in a checkpoint file into a network without classifier: all of it, or on any error nothing.

    The file holds a classifier of any layout that `load_weights` reads, or a detector of ours, torchvision's or
    Detectron2's; classifiers, pyramids and heads are left out.

    Args:
        body: a network that `awbench.build` made, without its `fc`; its norms may be FrozenBatchNorm2d.
        path: the file.
        allow_missing_aw, averaged: as in `load_weights`.

    Raises:
        UserError: as `load_weights`.
    """
    file = read_checkpoint(Path(path), averaged)
    state = backbone_entries(file.state)
    return _load(body, file, state, recognise(file, state), allow_missing_aw=allow_missing_aw, backbone=True)


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
    header = {METADATA_KEY: json.dumps(description, sort_keys=True)}
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
    variant: Variant = model.variant  # type: ignore[assignment]
    published = _torchvision_weights(variant, name)
    url = str(published.url)
    path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not path.exists():
        # Not load_state_dict_from_url: it prints on stdout, unpacks zips and trusts what it finds in its cache.
        expected = HASH_IN_NAME.search(path.name)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(path), expected.group(1) if expected else None)
        except (OSError, RuntimeError, http.client.HTTPException) as error:
            raise UserError(
                f"cannot download {url}: {first_line(error)}; fetch it where there is a network, and put it at {path}"
            ) from None
    return load_weights(model, path, allow_missing_aw=allow_missing_aw)


def torchvision_weights_name(variant: Variant, name: str) -> str:
    """The name of torchvision's weights, which "DEFAULT" is another one for.

    Raises:
        UserError: torchvision has no such weights of the variant.
    """
    return str(_torchvision_weights(variant, name).name)


def _torchvision_weights(variant: Variant, name: str) -> Any:
    """The member of torchvision's enumeration."""
    import torchvision

    if variant.task == "detection" or variant.attention or variant.architecture.stem != "imagenet":
        raise UserError(f"torchvision has no weights of {variant.name}; it has plain ImageNet ones, e.g. of resnet50")
    published = torchvision.models.get_model_weights(variant.architecture_name).__members__
    if name not in published:
        raise UserError(
            f"torchvision has no weights {name!r} of {variant.architecture_name}{suggestion(name, published)} "
            f"Known: {', '.join(published)}."
        )
    return published[name]


def _load(
    model: nn.Module,
    file: CheckpointFile,
    state: dict[str, Tensor],
    layout: Layout,
    *,
    allow_missing_aw: bool,
    backbone: bool = False,
) -> LoadedWeights:
    """Fit `state`, some of the file's, to the network and copy it there."""
    path, metadata, own = file.path, file.metadata, model.state_dict()
    state = rename(file, state, layout)
    notes = [*file.notes, *([layout.note] if layout.note else [])]
    if layout.name in _COMPLETED:
        state, further = _COMPLETED[layout.name](state, own)
        notes += further
    if backbone:
        state = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
    state = {name: tensor for name, tensor in state.items() if name in own or not _counts_for_frozen(name, own)}
    if not own.keys() & state.keys():
        raise UserError(
            f"{path} holds no weights of a layout known here: its keys are {shortened(file.state)}; known are "
            "awbench's, torchvision's and Detectron2's ResNets, the CBAM, ECA and senet.pytorch codes', timm's "
            "seresnet and legacy_seresnet"
        )
    missing = [name for name in own if name not in state]
    branch = _attention_branch(model)
    from_plain = allow_missing_aw and not branch & state.keys()
    kept_branch = [name for name in missing if from_plain and name in branch]
    kept_counters = [name for name in missing if name.endswith(COUNTER) and name not in kept_branch]
    kept = {name: own[name] for name in (*kept_branch, *kept_counters)}
    saved_variant = metadata.get("variant")
    if backbone and saved_variant:  # a detector's is its backbone's
        backbones = {variant.name: variant.backbone for variant in list_variants()}
        saved_variant = backbones.get(saved_variant, saved_variant)
    _check_fit(path, model, own, state, kept.keys(), saved_variant, from_plain)

    stride = metadata["options"].get("stride_placement") if metadata else layout.stride_placement
    stride = stride if any(".conv3." in name for name in state) else None
    notes += _option_notes(model, metadata, layout, stride)
    if layout.pixels != IMAGENET_RGB:
        pixels = layout.pixels
        notes.append(
            f"trained on {pixels.order} pixels of mean {pixels.mean} and std {pixels.std}, on the 0..255 scale"
        )
    if kept_branch:
        variant: Variant | None = getattr(model, "variant", None)
        title = variant.modules[0].title if variant else "AW"
        notes.append(
            f"the {title} attention branch ({len(kept_branch)} tensors) is not in the file and was left as it was"
        )
    if kept_counters:
        notes.append(f"{len(kept_counters)} num_batches_tracked buffers are not in the file and were left as they were")
    converted = {(str(tensor.dtype), str(own[name].dtype)) for name, tensor in state.items()}
    notes += [f"converted from {theirs} to {ours}" for theirs, ours in sorted(converted) if theirs != ours]
    model.load_state_dict({**state, **kept}, strict=True)
    return LoadedWeights(path, file.sha256, layout.name, file.published_sha256, stride, layout.pixels, tuple(notes))


def _counts_for_frozen(name: str, own: dict[str, Tensor]) -> bool:
    """Whether it is the batch counter of a norm that has none here, because it is frozen."""
    return name.endswith(COUNTER) and f"{name.removesuffix(COUNTER)}.running_mean" in own


def _attention_branch(model: nn.Module) -> set[str]:
    """The names of every tensor that an attended convolution, AW's or another, has and a plain one has not."""
    classes = tuple(module.load() for module in modules("convolution").values() if module.is_loaded)
    return {
        f"{name}.{tensor}"
        for name, module in model.named_modules()
        if isinstance(module, classes)
        for tensor in module.state_dict()
        if tensor not in ("weight", "bias")
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
    attended = variant and variant.convolution
    twin = classification_name(variant.architecture_name, variant.attention, None) if variant and attended else None
    fitting = (network, twin) if from_plain else (network,)

    def held_by(other: str, how: str = "") -> str:
        hint = "; --init-weights (allow_missing_aw=True in Python) initialises it from them" if other == twin else ""
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
            f"{ours} here; build it with --num-classes {theirs[0]} (num_classes={theirs[0]} in Python)"
        )
    problems = {
        "missing": missing,
        "unexpected": unexpected,
        "of another shape": [f"{name} {tuple(state[name].shape)} for {tuple(own[name].shape)}" for name in shapes],
        "of another type": [f"{name} {state[name].dtype} for {own[name].dtype}" for name in types],
    }
    listed = [f"{what}: {shortened(names)}" for what, names in problems.items() if names]
    if listed:
        likely = recognise_variant(state)
        head = f"{path} does not fit this network, {network}"
        if variant and likely and likely not in fitting:
            head = held_by(likely, " by its tensors")
        raise UserError("; ".join([head, *listed]))


def _converts(theirs: torch.dtype, ours: torch.dtype) -> bool:
    return theirs == ours or (theirs in _FLOATS and ours in _FLOATS)


def _description(model: nn.Module) -> dict[str, Any]:
    """The network's variant and options as plain JSON values; nothing for one that is not of the grid."""
    variant: Variant | None = getattr(model, "variant", None)
    if variant is None:
        return {}
    options = describe_options(variant, model.options)  # type: ignore[arg-type]  # a ResNet's ModelOptions
    return {"variant": variant.name, "options": options}


def _option_notes(model: nn.Module, metadata: dict[str, Any], layout: Layout, stride: str | None) -> list[str]:
    """A note on each option that differs from the network the weights were made in, though every tensor fits."""
    own = _description(model).get("options", {})
    notes = []
    if own and stride and stride != own["stride_placement"]:
        source = "these weights are" if metadata else f"weights of the {layout.name} layout are"
        notes.append(
            f"{source} for stride placement {stride}, this network has {own['stride_placement']}; "
            f"build it with --stride-placement {stride} (stride_placement={stride!r} in Python) to compute what they "
            "were trained for"
        )
    ours, theirs = own.get("aw", {}), metadata["options"]["aw"] if metadata else {}
    notes += [
        f"saved with AW option {option}={printable(value)}, this network has {ours[option]}"
        for option, value in theirs.items()
        if option in ours and ours[option] != value
    ]
    return notes
