"""Checkpoints that training scripts of others leave: read as weights, whatever lies beside them, and nothing is run."""

from __future__ import annotations

import argparse
import collections
import pathlib
import sys
import types

import numpy as np
import pytest
import torch

import awbench
from awbench.errors import UserError
from awbench.models.weights import load_weights


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return awbench.build("resnet20").state_dict()


def loaded(content, path) -> dict[str, torch.Tensor]:
    """The weights of a network that read what was saved."""
    torch.save(content, path)
    network = awbench.build("resnet20")
    load_weights(network, path)
    return network.state_dict()


def renamed(state, rename):
    return {rename(name): tensor for name, tensor in state.items()}


@pytest.fixture
def lightning(monkeypatch) -> type:
    """A dict class of the name that Lightning's checkpoints have, without Lightning."""
    name = "pytorch_lightning.utilities.parsing"
    module = types.ModuleType(name)
    module.AttributeDict = type("AttributeDict", (dict,), {"__module__": name, "__qualname__": "AttributeDict"})
    for parent in ("pytorch_lightning", "pytorch_lightning.utilities"):
        monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
    monkeypatch.setitem(sys.modules, name, module)
    return module.AttributeDict


TORCHVISION = {
    "epoch": 4,
    "args": argparse.Namespace(lr=0.1, data=pathlib.PurePosixPath("d")),
    "scaler": {"scale": 2.0},
}
TIMM = {"arch": "resnet20", "metric": np.float64(76.1), "best": np.float32(1.0), "history": np.arange(3), "version": 2}


@pytest.mark.parametrize("beside", [TORCHVISION, TIMM], ids=["torchvision", "timm"])
@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_what_lies_beside_the_weights_is_left_aside(weights, tmp_path, beside, key):
    found = loaded({key: weights, "optimizer": {"state": {}, "param_groups": []}, **beside}, tmp_path / "c.pth")
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())


def test_lightnings_are_read(weights, tmp_path, monkeypatch, lightning):
    content = {
        "state_dict": renamed(weights, lambda name: f"model.{name}"), "pytorch-lightning_version": "2.4.0",
        "hyper_parameters": lightning(lr=0.1), "callbacks": {"ModelCheckpoint": {"best": torch.tensor(1.0)}},
        "loops": {"fit": collections.OrderedDict()},
    }  # fmt: skip
    torch.save(content, tmp_path / "last.ckpt")
    monkeypatch.delitem(sys.modules, lightning.__module__)  # where it is read there is no Lightning
    network = awbench.build("resnet20")
    load_weights(network, tmp_path / "last.ckpt")
    assert torch.equal(network.fc.weight, weights["fc.weight"])


@pytest.mark.parametrize(
    "rename",
    [
        lambda name: f"module.{name}",
        lambda name: f"_orig_mod.module.{name}",
        lambda name: f"net._orig_mod.{name}",
        lambda name: name.replace("layer1.0.", "layer1.0._checkpoint_wrapped_module."),
        lambda name: name.replace("layer2.1.", "_fsdp_wrapped_module.layer2.1._fsdp_wrapped_module._orig_mod."),
    ],
    ids=["DDP", "compiled DDP", "Lightning, compiled", "activation checkpointing", "FSDP"],
)
def test_wrappers_inside_names_are_left_out(weights, tmp_path, rename):
    found = loaded(renamed(weights, rename), tmp_path / "c.pth")
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())


def test_nothing_of_a_file_is_run_though_its_name_is_known(weights, tmp_path, monkeypatch):
    def trap(*args, **kwargs):
        raise AssertionError("called")

    torch.save({"model": weights, "args": argparse.Namespace(a=1)}, tmp_path / "c.pth")
    monkeypatch.setattr(argparse, "Namespace", trap)
    load_weights(awbench.build("resnet20"), tmp_path / "c.pth")


def test_other_objects_are_refused_by_name(weights, tmp_path):
    with pytest.raises(UserError, match=r"contains more than weights \(types.SimpleNamespace\)"):
        loaded({"model": weights, "args": types.SimpleNamespace(a=1)}, tmp_path / "c.pth")


def test_shards_of_fsdp_say_how_they_become_one_file(weights, tmp_path):
    torch.save({"_fsdp_wrapped_module._flat_param": torch.zeros(5)}, tmp_path / "shard.pth")
    with pytest.raises(UserError, match="FSDP's flattened parameters.*FULL_STATE_DICT"):
        load_weights(awbench.build("resnet20"), tmp_path / "shard.pth")
    folder = tmp_path / "dcp"
    folder.mkdir()
    (folder / ".metadata").write_bytes(b"")
    with pytest.raises(UserError, match="torch.distributed.checkpoint.format_utils dcp_to_torch"):
        load_weights(awbench.build("resnet20"), folder)


def test_the_official_eca_layout(tmp_path):
    ours = awbench.build("eca_resnet50", attention_options={"released": "resnet50"})
    state = renamed(ours.state_dict(), lambda name: name.replace(".attention.", ".eca."))
    assert any(".eca.conv.weight" in name for name in state)
    torch.save({"state_dict": renamed(state, lambda name: f"module.{name}")}, tmp_path / "eca.pth.tar")
    network = awbench.build("eca_resnet50", attention_options={"released": "resnet50"})
    assert load_weights(network, tmp_path / "eca.pth.tar").layout == "eca"
    assert torch.equal(network.layer4[2].attention.conv.weight, ours.layer4[2].attention.conv.weight)


def test_an_se_without_biases_computes_the_same(tmp_path):
    ours = awbench.build("se_resnet20").eval()
    for name, tensor in ours.state_dict().items():
        if name.endswith(("fc1.bias", "fc2.bias")):
            tensor.zero_()
    theirs = {
        name.replace("attention.fc1", "se.fc.0").replace("attention.fc2", "se.fc.2"): tensor
        for name, tensor in ours.state_dict().items()
        if not name.endswith(("fc1.bias", "fc2.bias"))
    }
    torch.save(theirs, tmp_path / "se.pth")
    network = awbench.build("se_resnet20").eval()
    read = load_weights(network, tmp_path / "se.pth")
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(network(x), ours(x)) and read.layout == "senet.pytorch"
    assert any("18 biases of SE" in note for note in read.notes)


def test_default_is_the_name_of_torchvisions_newest(awbench_cli):
    from awbench.models.weights import torchvision_weights_name
    from awbench.variants import parse_variant

    assert torchvision_weights_name(parse_variant("resnet50"), "DEFAULT") == "IMAGENET1K_V2"
    code, _, err = awbench_cli("eval", "faster_rcnn_resnet50_fpn", "--weights", "DEFAULT")
    assert code == 2 and "torchvision has no weights of faster_rcnn_resnet50_fpn" in err


@pytest.fixture
def awbench_cli(request):
    return request.getfixturevalue("awbench")
