"""The short training that says how fast a network of a study trains. It is never evidence: its recipe is another."""

from __future__ import annotations

import re

from awbench.studies import Study
from awbench.variants import classification_name

# So many steps that the first ones, which are slow on a GPU, weigh little; dataset fake has five an epoch.
_FAKE_EPOCHS, _EPOCHS, _ITERATIONS = 20, 2, 300
_WORKERS = ("--workers", "8")  # without, a GPU waits for its images


def timing_argv(study: Study, label: str, device: str = "") -> list[str]:
    """The command.

    Args:
        device: "cpu" or "cuda"; "" for what `awbench train` chooses.
    """
    variant, network = study.variant_of(label), study.networks.get(label)
    argv = ["awbench", "train", variant.name, *variant.module_argv, "--recipe", study.recipe]
    for change in study.changes:
        if not change.startswith(("epochs=", "iterations=")):  # it has a length of its own
            argv += ["--set", change]
    if study.dataset == "imagenet":
        argv += ["--dataset", "fake", "--set", f"epochs={_FAKE_EPOCHS}"]
    else:
        argv += ["--dataset", study.dataset, *data_argv(study)]
        argv += ["--set", f"iterations={_ITERATIONS}" if study.task == "detection" else f"epochs={_EPOCHS}"]
    argv += ["--engine", study.engine] if study.engine else []
    if study.backbones:  # weights without AW do for the speed
        argv += [
            "--init-weights",
            f"BACKBONES_DIR/{classification_name(variant.architecture_name, variant.attention, None)}.pth",
        ]
    if study.stride_placement != "v1.5":
        argv += ["--stride-placement", study.stride_placement]
    options = {
        "--aw-option": network.aw, "--attention-option": network.attention, "--convolution-option": network.convolution,
    } if network else {}  # fmt: skip
    for option, values in options.items():
        for name, value in values.items():
            shown = ",".join(map(str, value)) if isinstance(value, list) else str(value).lower()
            argv += [option, f"{name}={shown}"]
    return [*argv, *(["--device", device] if device else []), *(_WORKERS if device != "cpu" else [])]


def data_argv(study: Study) -> list[str]:
    """Where the dataset lies, in capitals, for the reader to replace; nothing where it needs no folder."""
    name = re.sub(r"\W", "_", study.dataset.upper())
    return [] if study.facts.proxy else ["--data", f"{name}_DIR"]
