"""Layouts: the names that other code gives to the same tensors, recognised and translated to ours.

Known are our own, torchvision's, the CBAM code's, timm's, Detectron2's and Caffe2's.
"""

from __future__ import annotations

import dataclasses
import re
from collections import Counter
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from awbench.data.pixels import CAFFE_BGR, IMAGENET_RGB, Pixels
from awbench.errors import UserError
from awbench.models.checkpoint_files import CheckpointFile, shortened
from awbench.modules import modules
from awbench.variants import ARCHITECTURES, classification_name

# DistributedDataParallel, torch.compile, FSDP, activation checkpointing, and what Lightning's modules call theirs.
_INNER = "_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module"
_WRAPPERS = re.compile(rf"^(?:(?:module|model|net|network|{_INNER})\.)+|(?:{_INNER})\.")
COUNTER = ".num_batches_tracked"  # absent before PyTorch 0.4.1, and unused at our norms' momentum


@dataclass(frozen=True)
class Layout:
    """One naming of a residual network's tensors.

    Attributes:
        name: as in LoadedWeights.
        marker: part of a key that no other layout has.
        renames: (pattern, replacement) pairs that give our names.
        stride_placement: of the bottlenecks in the code that made it; None where that is unknown.
        pixels: what the weights were trained on.
        note: where that code differs from ours in what no weight shows.
    """

    name: str
    marker: str
    renames: tuple[tuple[str, str], ...]
    stride_placement: str | None
    pixels: Pixels = IMAGENET_RGB
    note: str = ""


# timm's models/senet.py: SEResNetBottleneck has its stride in conv1, SENet its pooling in pool0.
_TIMM_LEGACY = Layout(
    "timm-legacy",
    ".se_module.",
    ((r"^layer0\.", ""), (r"^last_linear\.", "fc."), (r"\.se_module\.", ".attention.")),
    "v1",
    note="timm's legacy SE-ResNets pool the stem by MaxPool2d(3, 2, ceil_mode=True) without padding; "
    "this network pads by 1, so its outputs differ from theirs",
)
_TIMM = Layout("timm", ".se.", ((r"\.se\.", ".attention."),), "v1.5")
# github.com/moskomule/senet.pytorch, senet/se_module.py: without biases, which are zeros here.
_SENET_PYTORCH = Layout(
    "senet.pytorch", ".se.fc.", ((r"\.se\.fc\.0\.", ".attention.fc1."), (r"\.se\.fc\.2\.", ".attention.fc2.")), "v1.5"
)
# github.com/BangguWu/ECANet, models/eca_resnet.py.
_ECA = Layout("eca", ".eca.", ((r"\.eca\.", ".attention."),), "v1.5")
# github.com/Jongchan/attention-module, MODELS/cbam.py and MODELS/model_resnet.py.
_CBAM = Layout(
    "cbam",
    ".cbam.",
    (
        (r"\.cbam\.ChannelGate\.mlp\.1\.", ".attention.channel_gate.fc1."),
        (r"\.cbam\.ChannelGate\.mlp\.3\.", ".attention.channel_gate.fc2."),
        (r"\.cbam\.SpatialGate\.spatial\.", ".attention.spatial_gate."),
    ),
    "v1.5",
)
# Detectron2's modeling/backbone/resnet.py; "stem.fc." is what its tools/convert-torchvision-to-d2.py makes of "fc.".
_DETECTRON2 = Layout(
    "detectron2",
    "stem.conv1.",
    (
        (r"^stem\.conv1\.norm\.", "bn1."),
        (r"^linear\.", "fc."),
        (r"^stem\.", ""),
        *((rf"^res{stage + 1}\.", f"layer{stage}.") for stage in (1, 2, 3, 4)),
        (r"\.conv(\d)\.norm\.", r".bn\1."),
        (r"\.shortcut\.norm\.", ".downsample.1."),
        (r"\.shortcut\.", ".downsample.0."),
    ),
    None,
    CAFFE_BGR,
)
# MSRA's ResNets as Detectron (2018) and Detectron2 publish them: Detectron's norms have a scale and a bias ("_s",
# "_b"), Detectron2's copies all four tensors. The rules are those of Detectron2's checkpoint/c2_model_loading.py.
_CAFFE2 = Layout(
    "caffe2",
    "_branch2a_",
    (
        (r"^(fc1000|pred)_", "fc_"),
        (r"^res_conv1_bn_", "bn1_"),
        *((rf"^res{stage + 1}_(\d+)_", rf"layer{stage}.\1.") for stage in (1, 2, 3, 4)),
        (r"\.branch1_bn_", ".downsample.1_"),
        (r"\.branch1_", ".downsample.0_"),
        *((rf"\.branch2{letter}_bn_", f".bn{i}_") for i, letter in enumerate("abc", 1)),
        *((rf"\.branch2{letter}_", f".conv{i}_") for i, letter in enumerate("abc", 1)),
        (r"_(w|s|gamma)$", ".weight"),
        (r"_(b|beta)$", ".bias"),
        (r"_(rm|running_mean)$", ".running_mean"),
        (r"_(riv|running_var)$", ".running_var"),
    ),
    "v1",
    CAFFE_BGR,
)
_TORCHVISION = Layout("torchvision", "", (), "v1.5")
_OURS = Layout("awbench", ".attention.", (), None)

# Where a detector has its backbone: ours on either engine, torchvision's, Detectron2's with a pyramid and without.
_DETECTOR_PREFIXES = (
    "backbone.bottom_up.body.",
    "backbone.body.",
    "backbone.bottom_up.",
    "bottom_up.",
    "backbone.",
)
_CAFFE2_BACKBONE = re.compile(r"(res_)?conv1_|res[2-5]_|(fc1000|pred)_")  # without a prefix, among the heads' names
_CONVOLUTION_BIAS = re.compile(r"(^|\.)(conv\d|downsample\.0)\.bias$")


def detector_prefix(state: dict[str, Tensor]) -> str:
    """What the names of a detector's backbone begin with; empty where the file holds no detector, or Caffe2's."""
    names = [_WRAPPERS.sub("", key) for key in state]
    return next((p for p in _DETECTOR_PREFIXES if any(name.startswith(p) for name in names)), "")


def backbone_entries(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The entries that are the backbone's, under their own names; all where the file holds no detector."""
    prefix = detector_prefix(state)
    if not prefix and any(_CAFFE2.marker in key for key in state):
        return {key: tensor for key, tensor in state.items() if _CAFFE2_BACKBONE.match(_WRAPPERS.sub("", key))}
    return {key: tensor for key, tensor in state.items() if _WRAPPERS.sub("", key).startswith(prefix)}


def recognise(file: CheckpointFile, state: dict[str, Tensor]) -> Layout:
    """The layout by the keys of `state`, which are some of the file's.

    A plain network of ours has torchvision's keys; only our metadata tells them apart.

    Raises:
        UserError: the file's own `pixel_mean` or `pixel_std` make no sense.
    """
    marked = (_TIMM_LEGACY, _SENET_PYTORCH, _ECA, _TIMM, _CBAM, _CAFFE2, _DETECTRON2, _OURS)
    plain = _TORCHVISION if any("layer4." in key for key in state) else _OURS  # CIFAR-style: three stages
    layout = next((layout for layout in marked if any(layout.marker in key for key in state)), plain)
    if file.metadata:
        return dataclasses.replace(_OURS, pixels=file.metadata.get("pixels", _OURS.pixels))
    pixels = _stated_pixels(file) or layout.pixels
    if layout is _DETECTRON2:
        layout = _placing_strides(file, layout, pixels, any(".conv3." in key for key in state))
        pixels = IMAGENET_RGB if file.author == "torchvision" else pixels
    return dataclasses.replace(layout, pixels=pixels)


def recognise_variant(state: dict[str, Tensor]) -> str | None:
    """The variant that has these tensors, as far as blocks, their width and attention modules tell, or None."""
    blocks = {match.groups() for name in state if (match := re.match(r"layer(\d)\.(\d+)\.", name))}
    per_stage = tuple(count for _, count in sorted(Counter(stage for stage, _ in blocks).items()))
    block = "bottleneck" if any(".conv3." in name for name in state) else "basic"
    kernel = state.get("layer1.0.conv2.weight", torch.empty(0)).shape  # (width, width/groups, 3, 3)
    fitting = {
        name: kernel[:2] == (of.inner_width(0), of.inner_width(0) // of.groups)
        for name, of in ARCHITECTURES.items()
        if (of.blocks_per_stage, of.block) == (per_stage, block)
    }
    prefix = "layer1.0.attention."
    tensors = {name.removeprefix(prefix) for name in state if name.startswith(prefix) and not name.endswith(COUNTER)}
    attention = next((attention for attention, expected in _attention_names().items() if expected == tensors), None)
    if not fitting or (tensors and not attention):
        return None
    architecture = max(fitting, key=lambda name: fitting[name])  # the first, where no width fits
    aw = any(".pointconv1." in name for name in state)
    return classification_name(architecture, attention, "aw" if aw else None)


def _attention_names() -> dict[str, set[str]]:
    """The tensors of the project's attention modules on activations."""
    own = {name: module for name, module in modules("after_norm").items() if not module.is_external}
    with torch.device("meta"):
        tensors = {attention: module.load()(64).state_dict() for attention, module in own.items()}
    return {attention: {name for name in names if not name.endswith(COUNTER)} for attention, names in tensors.items()}


def rename(file: CheckpointFile, state: dict[str, Tensor], layout: Layout) -> dict[str, Tensor]:
    """The state dict under our names, 1x1 convolutions (A, B, 1, 1) of timm's SE as linear layers (A, B).

    Raises:
        UserError: two of its keys become one name.
    """
    prefix = detector_prefix(state)
    renamed: dict[str, Tensor] = {}
    for key, tensor in state.items():
        name = _WRAPPERS.sub("", key).removeprefix(prefix)
        for pattern, replacement in layout.renames:
            name = re.sub(pattern, replacement, name)
        if name in renamed:
            raise UserError(
                f"{file.path} has two tensors for {name}, one of them named {key}; a checkpoint has one of each"
            )
        if layout.name in ("timm", "timm-legacy") and ".attention.fc" in name and tensor.shape[2:] == (1, 1):
            tensor = tensor.flatten(1)
        renamed[name] = tensor
    return renamed


def complete_biases(state: dict[str, Tensor], own: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """(senet.pytorch's tensors under our names, with zeros for the biases that its SE has not; notes)."""
    missing = [name for name in own if name not in state and re.search(r"\.attention\.fc[12]\.bias$", name)]
    note = f"{len(missing)} biases of SE, which that code has none of, were set to zero: it computes the same"
    return {**state, **{name: torch.zeros_like(own[name]) for name in missing}}, [note] if missing else []


def complete_caffe2(state: dict[str, Tensor], own: dict[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """(Caffe2's tensors under our names, completed for a network whose tensors are `own`; notes).

    As Detectron2 reads them. Norms with a scale and a bias alone have their statistics folded in: mean 0 and
    variance 1 remain. Convolutions have biases, in MSRA's files zero but for ResNet-50's first: they are left out.
    """
    notes = []
    biases = {name: tensor for name, tensor in state.items() if _CONVOLUTION_BIAS.search(name)}
    state = {name: tensor for name, tensor in state.items() if name not in biases}
    largest = {name: tensor.double().abs().max().item() for name, tensor in biases.items() if tensor.any()}
    if largest:
        notes.append(
            f"convolutions' biases that are not zero were left out, as Detectron2 leaves them out: "
            f"{shortened(f'{name} of up to {value:.2g}' for name, value in largest.items())}"
        )
    means = [name for name in own if name.endswith(".running_mean") and name.replace("running_mean", "weight") in state]
    if means and not any(name.endswith((".running_mean", ".running_var")) for name in state):
        for name in means:
            state[name] = torch.zeros_like(own[name])
            state[name.replace("running_mean", "running_var")] = torch.ones_like(own[name])
        notes.append(
            f"the statistics of {len(means)} norms are folded into scale and bias, and were set to mean 0 and "
            "variance 1; keep these norms frozen, as statistics of batches would normalise twice"
        )
    return state, notes


def _placing_strides(file: CheckpointFile, layout: Layout, pixels: Pixels, bottlenecks: bool) -> Layout:
    """The layout with the stride placement that follows from a Detectron2 file's author, or a note that none does."""
    if file.author == "torchvision":  # tools/convert-torchvision-to-d2.py
        return dataclasses.replace(layout, stride_placement="v1.5")
    if file.author == "Detectron2 Model Zoo" and pixels == CAFFE_BGR:  # trained from MSRA's
        return dataclasses.replace(layout, stride_placement="v1")
    note = (
        "the file does not say where the strides of its bottlenecks are: Detectron2's default is v1 "
        "(STRIDE_IN_1X1), networks from torchvision's weights have v1.5"
    )
    return dataclasses.replace(layout, note=note if bottlenecks else "")


def _stated_pixels(file: CheckpointFile) -> Pixels | None:
    """The pixels that a detector's own buffers state, or None. ImageNet's mean gives their order: blue is least."""
    unwrapped = {_WRAPPERS.sub("", key): tensor for key, tensor in file.state.items()}
    if not {"pixel_mean", "pixel_std"} <= unwrapped.keys():
        return None
    # Rounded: the file's float32 of 123.675 is 123.67500305
    mean, std = (
        [round(value, 4) for value in unwrapped[key].flatten()[:4].double().tolist()]
        for key in ("pixel_mean", "pixel_std")
    )
    if [len(mean), len(std)] != [3, 3] or not (all(0 <= v <= 255 for v in mean) and all(0 < v <= 255 for v in std)):
        raise UserError(
            f"{file.path} has pixel_mean {mean} and pixel_std {std}; expected three channels on the 0..255 scale"
        )
    order: Literal["RGB", "BGR"] = "BGR" if mean[0] == min(mean) else "RGB"
    return Pixels(order, (mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))
