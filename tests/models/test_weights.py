from __future__ import annotations

import hashlib
import io
import os
import pickle
import urllib.error
from pathlib import Path
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

import awbench
from awbench.errors import UserError
from awbench.models.weights import load_torchvision_weights, load_weights, save_weights


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """The network in eval mode, with every norm (and CBAM's closed gate) doing something."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
            nn.init.uniform_(module.weight, 0.5, 1.0, generator=generator)
            nn.init.normal_(module.bias, std=0.1, generator=generator)
            module.num_batches_tracked.fill_(seed + 1)
    return model.eval()


@torch.no_grad()
def outputs(model: nn.Module) -> Tensor:
    return model.eval()(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(5)))


def assert_same_weights(a: nn.Module, b: nn.Module) -> None:
    ours, theirs = a.state_dict(), b.state_dict()
    assert ours.keys() == theirs.keys()
    for name in ours:
        assert torch.equal(ours[name], theirs[name]), name


def refused(model: nn.Module, path: str | Path, **options) -> str:
    """The one line that refuses the file; the network must be as it was before."""
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load_weights(model, path, **options)
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]), f"{name} was changed by a refused file"
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


# Ours


@pytest.mark.parametrize("name", ["resnet20", "aw_cbam_resnet20", "eca_resnet20", "se_resnet18"])
def test_what_was_saved_is_loaded_bitwise(name, tmp_path):
    model, other = randomised(awbench.build(name)), awbench.build(name)
    save_weights(model, tmp_path / "new" / "x.safetensors", {"epoch": "3"})
    loaded = load_weights(other, tmp_path / "new" / "x.safetensors")
    assert_same_weights(other, model)
    assert loaded.path == tmp_path / "new" / "x.safetensors"
    assert loaded.sha256 == hashlib.sha256(loaded.path.read_bytes()).hexdigest()
    assert (loaded.layout, loaded.published_sha256, loaded.stride_placement) == ("awbench", None, None)
    assert loaded.notes == ()


def test_equal_weights_make_equal_files_whatever_their_memory_format(tmp_path):
    model = awbench.build("aw_resnet20")
    metadata = {f"key{i}": "value" for i in range(8)}
    save_weights(model, tmp_path / "a.safetensors", metadata)
    in_another_order = dict(reversed(metadata.items()))
    save_weights(model.to(memory_format=torch.channels_last), tmp_path / "b.safetensors", in_another_order)
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


def test_a_failed_save_leaves_the_older_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    save_weights(awbench.build("resnet20"), path)
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_weights(awbench.build("resnet20"), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("key", [None, "model", "state_dict"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_torch_saved_weights_and_training_checkpoints_load(key, prefix, zipped, tmp_path):
    model, other = randomised(awbench.build("aw_se_resnet20")), awbench.build("aw_se_resnet20")
    state = {prefix + name: tensor for name, tensor in model.state_dict().items()}
    checkpoint = state if key is None else {"epoch": 4, "best": torch.tensor(0.5), "optimizer": {"lr": 0.1}, key: state}
    torch.save(checkpoint, tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    assert load_weights(other, tmp_path / "x.pt").layout == "awbench"
    assert_same_weights(other, model)


def test_a_safetensors_header_that_begins_like_a_pickle_is_read(tmp_path):
    model = awbench.build("resnet20")
    path = tmp_path / "x.safetensors"
    for padding in range(0, 512, 8):
        save_weights(model, path, {"padding": "x" * padding})
        if path.read_bytes()[:1] == b"\x80":
            break
    assert path.read_bytes()[:1] == b"\x80"
    other = awbench.build("resnet20")
    load_weights(other, path)
    assert_same_weights(other, model)


def test_half_precision_weights_are_converted_and_said_to_be(tmp_path):
    model = awbench.build("resnet20")
    torch.save(
        {name: t.half() if t.is_floating_point() else t for name, t in model.state_dict().items()}, tmp_path / "x.pt"
    )
    other = awbench.build("resnet20")
    assert load_weights(other, tmp_path / "x.pt").notes == ("converted from torch.float16 to torch.float32",)
    assert torch.equal(other.fc.weight, model.fc.weight.half().float())
    assert other.fc.weight.dtype == torch.float32


def test_options_that_no_shape_shows_are_noted(tmp_path):
    save_weights(awbench.build("aw_resnet20", aw_options={"gate": "tanh"}), tmp_path / "x.safetensors")
    loaded = load_weights(awbench.build("aw_resnet20"), tmp_path / "x.safetensors")
    assert loaded.notes == ("saved with AW option gate=tanh, this network has sigmoid",)


def test_another_stride_placement_is_noted_from_our_metadata(tmp_path):
    save_weights(awbench.build("resnet50", stride_placement="v1"), tmp_path / "x.safetensors")
    loaded = load_weights(awbench.build("resnet50"), tmp_path / "x.safetensors")
    assert loaded.stride_placement == "v1"
    assert len(loaded.notes) == 1
    assert "stride placement v1, this network has v1.5" in loaded.notes[0]
    assert load_weights(awbench.build("resnet50", stride_placement="v1"), tmp_path / "x.safetensors").notes == ()


# torchvision


def torchvision_file(path: Path, **options) -> nn.Module:
    model = randomised(torchvision.models.resnet18(weights=None, **options))
    torch.save(model.state_dict(), path)
    return model


def named_by_hash(path: Path) -> Path:
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.rename(path.with_name(f"resnet18-{digest[:8]}.pth"))


def test_torchvisions_file_gives_its_outputs_and_its_published_hash_is_checked(tmp_path):
    theirs, ours = torchvision_file(tmp_path / "x.pth"), awbench.build("resnet18")
    loaded = load_weights(ours, named_by_hash(tmp_path / "x.pth"))
    assert torch.equal(outputs(ours), outputs(theirs))
    assert (loaded.layout, loaded.published_sha256, loaded.notes) == ("torchvision", True, ())


def test_a_file_that_is_not_what_its_name_promises_is_refused(tmp_path):
    torchvision_file(tmp_path / "resnet18-f37072fd.pth")
    digest = hashlib.sha256((tmp_path / "resnet18-f37072fd.pth").read_bytes()).hexdigest()
    message = refused(awbench.build("resnet18"), tmp_path / "resnet18-f37072fd.pth")
    assert f"its sha256 begins with {digest[:8]}, not f37072fd" in message


def test_a_plain_checkpoint_initialises_an_aw_network_only_when_asked_to(tmp_path):
    theirs = torchvision_file(tmp_path / "x.pth")
    aw = awbench.build("aw_resnet18")
    message = refused(aw, tmp_path / "x.pth")
    assert "holds weights of resnet18 by its tensors; this network is aw_resnet18" in message
    assert "allow_missing_aw=True" in message
    assert "layer1.0.conv1.attention.pointconv1.weight" in message

    branch = {name: tensor.clone() for name, tensor in aw.state_dict().items() if ".attention." in name}
    loaded = load_weights(aw, tmp_path / "x.pth", allow_missing_aw=True)
    assert len(branch) == 16 * 12
    assert loaded.notes == ("the AW attention branch (192 tensors) is not in the file and was left as it was",)
    after = aw.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in branch.items())
    assert all(torch.equal(after[name], tensor) for name, tensor in theirs.state_dict().items())
    assert len(after) == len(branch) + len(theirs.state_dict())


def test_our_plain_checkpoint_initialises_the_aw_twin_and_no_other(tmp_path):
    se = randomised(awbench.build("se_resnet20"))
    save_weights(se, tmp_path / "se.safetensors")
    message = refused(awbench.build("aw_se_resnet20"), tmp_path / "se.safetensors")
    assert message.endswith(
        "holds weights of se_resnet20; this network is aw_se_resnet20; "
        "--init-weights (allow_missing_aw=True in Python) initialises it from them"
    )
    aw = awbench.build("aw_se_resnet20")
    load_weights(aw, tmp_path / "se.safetensors", allow_missing_aw=True)
    assert torch.equal(aw.layer3[2].attention.fc2.weight, se.layer3[2].attention.fc2.weight)
    message = refused(awbench.build("aw_cbam_resnet20"), tmp_path / "se.safetensors", allow_missing_aw=True)
    assert message.endswith("holds weights of se_resnet20; this network is aw_cbam_resnet20")


@pytest.mark.parametrize(
    "lost", ["layer1.0.conv1.weight", "layer1.0.conv2.attention.bn1.weight", "layer2.0.attention.fc1.bias"]
)
def test_allow_missing_aw_excuses_nothing_but_the_whole_branch(lost, tmp_path):
    model = awbench.build("aw_se_resnet20")
    state = model.state_dict()
    del state[lost]
    torch.save(state, tmp_path / "x.pt")
    assert f"missing: {lost}" in refused(model, tmp_path / "x.pt", allow_missing_aw=True)


def test_weights_by_name_are_downloaded_once_and_checked(tmp_path, monkeypatch, capfd):
    theirs = torchvision_file(tmp_path / "x.pth")
    published = named_by_hash(tmp_path / "x.pth")
    weights = SimpleNamespace(__members__={"IMAGENET1K_V1": SimpleNamespace(url=published.as_uri())})
    monkeypatch.setattr(torchvision.models, "get_model_weights", lambda name: weights)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    ours = awbench.build("resnet18")
    loaded = load_torchvision_weights(ours, "IMAGENET1K_V1")
    assert_same_weights(ours, theirs)
    assert (loaded.layout, loaded.published_sha256) == ("torchvision", True)
    assert capfd.readouterr().out == ""  # stdout is for JSON

    published.unlink()
    load_torchvision_weights(ours, "IMAGENET1K_V1")  # from the cache
    loaded.path.write_bytes(loaded.path.read_bytes()[:-1])
    with pytest.raises(UserError, match="not the file its name says"):
        load_torchvision_weights(ours, "IMAGENET1K_V1")


def test_weights_by_name_without_a_network_say_what_to_fetch(tmp_path, monkeypatch):
    def unreachable(*args, **kwargs):
        raise urllib.error.URLError("[Errno -3] Temporary failure in name resolution")

    monkeypatch.setattr(torch.hub, "urlopen", unreachable)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError) as caught:
        load_torchvision_weights(awbench.build("resnet18"), "IMAGENET1K_V1")
    message = str(caught.value)
    assert message.startswith("cannot download https://download.pytorch.org/models/resnet18-f37072fd.pth: ")
    assert "name resolution" in message
    assert message.endswith(f"put it at {tmp_path / 'checkpoints' / 'resnet18-f37072fd.pth'}")
    assert list((tmp_path / "checkpoints").iterdir()) == []


@pytest.mark.parametrize(
    ("network", "name", "message"),
    [
        ("resnet50", "IMAGENET1K_V3", r"no weights 'IMAGENET1K_V3' of resnet50; did you mean IMAGENET1K_V"),
        ("se_resnet18", "DEFAULT", "torchvision has no weights of se_resnet18"),
        ("resnet20", "DEFAULT", "torchvision has no weights of resnet20"),
    ],
)
def test_names_that_torchvision_does_not_have_are_refused(network, name, message):
    with pytest.raises(UserError, match=message):
        load_torchvision_weights(awbench.build(network), name)


# The official CBAM code: github.com/Jongchan/attention-module


def in_official_cbam_names(model: nn.Module) -> dict[str, Tensor]:
    renames = {
        "attention.channel_gate.fc1.": "cbam.ChannelGate.mlp.1.",
        "attention.channel_gate.fc2.": "cbam.ChannelGate.mlp.3.",
        "attention.spatial_gate.conv.": "cbam.SpatialGate.spatial.conv.",
        "attention.spatial_gate.bn.": "cbam.SpatialGate.spatial.bn.",
    }
    state = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue  # the published files are older than these buffers
        for ours, theirs in renames.items():
            name = name.replace(ours, theirs)
        state[f"module.{name}"] = tensor
    assert any(name == "module.layer1.0.cbam.SpatialGate.spatial.bn.running_var" for name in state)
    return state


def test_the_official_cbam_layout_gives_bitwise_the_outputs(tmp_path):
    model, other = randomised(awbench.build("cbam_resnet18")), awbench.build("cbam_resnet18")
    checkpoint = {"epoch": -1, "arch": "resnet", "best_prec1": 0, "state_dict": in_official_cbam_names(model)}
    torch.save(checkpoint, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    loaded = load_weights(other, tmp_path / "x.pth")
    assert torch.equal(outputs(other), outputs(model))
    assert loaded.layout == "cbam"
    assert loaded.notes == ("28 num_batches_tracked buffers are not in the file and were left as they were",)


def test_a_cbam_without_its_spatial_gate_is_refused(tmp_path):
    state = in_official_cbam_names(awbench.build("cbam_resnet18"))
    torch.save({"state_dict": {k: v for k, v in state.items() if "SpatialGate" not in k}}, tmp_path / "x.pth")
    message = refused(awbench.build("cbam_resnet18"), tmp_path / "x.pth")
    assert "missing: layer1.0.attention.spatial_gate.conv.weight, " in message
    assert message.endswith(" and 35 more")


# timm


@pytest.mark.parametrize(("theirs", "stride"), [("seresnet50", "v1.5"), ("legacy_seresnet50", "v1")])
def test_timms_layouts_give_its_outputs(theirs, stride, tmp_path):
    timm = pytest.importorskip("timm", reason="timm is the oracle of its own layouts")
    torch.manual_seed(0)
    reference = randomised(timm.create_model(theirs, pretrained=False))
    torch.save(reference.state_dict(), tmp_path / "x.pth")
    ours = awbench.build("se_resnet50", stride_placement=stride)
    loaded = load_weights(ours, tmp_path / "x.pth")
    legacy = theirs.startswith("legacy")
    assert (loaded.layout, loaded.stride_placement) == ("timm-legacy" if legacy else "timm", stride)
    expected = outputs(reference)
    if legacy:  # the one difference that no weight shows, and that the note names
        assert ["MaxPool2d(3, 2, ceil_mode=True)" in note for note in loaded.notes] == [True]
        assert (outputs(ours) - expected).abs().max() > 1e-3
        ours.maxpool = nn.MaxPool2d(3, 2, ceil_mode=True)
    else:
        assert loaded.notes == ()
    torch.testing.assert_close(outputs(ours), expected, rtol=0, atol=1e-4)

    other = awbench.build("se_resnet50", stride_placement="v1" if stride == "v1.5" else "v1.5")
    assert f"are for stride placement {stride}, this network has" in load_weights(other, tmp_path / "x.pth").notes[-1]
    assert (outputs(other) - expected).abs().max() > 1e-3


def test_timms_layout_of_another_design_is_listed_and_refused(tmp_path):
    timm = pytest.importorskip("timm", reason="timm is the oracle of its own layouts")
    torch.save(timm.create_model("seresnet50t", pretrained=False).state_dict(), tmp_path / "x.pth")
    message = refused(awbench.build("se_resnet50"), tmp_path / "x.pth")
    assert "does not fit this network, se_resnet50; missing: conv1.weight, layer1.0.downsample.0.weight" in message
    assert "unexpected: conv1.0.weight, " in message


# Files that must not be loaded


class Payload:
    """Unpickled carelessly, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch '{self.path}'",)


class Evaluated(Payload):
    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w').close()",)


@pytest.mark.parametrize("payload", [Payload, Evaluated])
@pytest.mark.parametrize("saved", ["zip", "legacy", "pickle2", "pickle4"])
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(payload, saved, tmp_path):
    ran, path = tmp_path / "it-ran", tmp_path / "x.pt"
    model = awbench.build("resnet20")
    checkpoint = {"model": model.state_dict(), "extra": payload(ran)}
    if saved.startswith("pickle"):
        path.write_bytes(pickle.dumps(checkpoint, protocol=int(saved[-1])))
    else:
        torch.save(checkpoint, path, _use_new_zipfile_serialization=saved == "zip")
    message = refused(model, path)
    assert "contains more than weights (" in message
    assert "refused" in message
    assert not ran.exists()
    if saved == "zip":  # the payload is a live one
        torch.load(path, weights_only=False)
        assert ran.exists()


def test_a_whole_pickled_network_is_refused_by_its_class(tmp_path):
    torch.save(awbench.build("resnet20"), tmp_path / "x.pt")
    message = refused(awbench.build("resnet20"), tmp_path / "x.pt")
    assert "contains more than weights (awbench.models.resnet.ResNet)" in message


def checkpoint_bytes(kind: str) -> bytes:
    model = awbench.build("resnet20")
    buffer = io.BytesIO()
    if kind == "safetensors":
        return safetensors.torch.save(model.state_dict())
    torch.save(model.state_dict(), buffer, _use_new_zipfile_serialization=kind == "zip")
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy"])
def test_a_checkpoint_cut_anywhere_is_refused(kind, tmp_path):
    content = checkpoint_bytes(kind)
    model, path = awbench.build("resnet20"), tmp_path / "x"
    path.write_bytes(content)
    load_weights(model, path)
    for size in [1, 8, 9, 30, 600, 5000, 30_000, len(content) // 2, len(content) - 200, len(content) - 1]:
        path.write_bytes(content[:size])
        message = refused(model, path)
        assert ("is damaged or truncated" in message) or (size < 9 and "is neither" in message), size


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("start", [b"", b"PK\x03\x04", b"\x80\x02", b"\x40\x00\x00\x00\x00\x00\x00\x00{"])
def test_random_bytes_are_refused(start, seed, tmp_path):
    noise = torch.randint(0, 256, (4096,), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    (tmp_path / "x.pt").write_bytes(start + bytes(noise.tolist()))
    refused(awbench.build("resnet20"), tmp_path / "x.pt")


def test_what_is_no_file_or_empty_is_refused(tmp_path):
    model = awbench.build("resnet20")
    assert refused(model, tmp_path / "none.pt").endswith("does not exist; give a checkpoint file")
    assert refused(model, tmp_path).endswith("is a folder; give the checkpoint file in it")
    (tmp_path / "empty.pt").touch()
    assert refused(model, tmp_path / "empty.pt").endswith("is empty; give a checkpoint file")
    os.mkfifo(tmp_path / "pipe")
    assert "is not a regular file" in refused(model, tmp_path / "pipe")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds list; expected a state dict"),
        ({}, "expected a state dict"),
        ({"epoch": 3, "optimizer": {}}, "holds a dict with keys epoch, optimizer; expected a state dict"),
        ({"model": {"fc.weight": 3}}, "holds a dict with keys model; expected"),
        ({"fc.weight": torch.empty(10, 64, device="meta")}, "expected a state dict"),
        ({"blocks.0.attn.qkv.weight": torch.zeros(3), "a\nb": torch.zeros(1)}, "no weights of a layout known here"),
        ({"fc.bias": torch.zeros(10), "module.fc.bias": torch.ones(10)}, "has two tensors for fc.bias"),
    ],
)
def test_what_holds_no_known_weights_is_refused(content, message, tmp_path):
    torch.save(content, tmp_path / "x.pt")
    assert message in refused(awbench.build("resnet20"), tmp_path / "x.pt")


@pytest.mark.parametrize(
    "metadata", ["", "[", "3", '{"variant": "resnet20"}', '{"variant": "a", "options": {"aw": 3}}']
)
def test_unreadable_metadata_is_refused(metadata, tmp_path):
    state = awbench.build("resnet20").state_dict()
    safetensors.torch.save_file(state, tmp_path / "x.safetensors", metadata={"awbench": metadata})
    assert "unreadable metadata" in refused(awbench.build("resnet20"), tmp_path / "x.safetensors")


# Weights that do not fit


def test_a_checkpoint_of_another_variant_is_refused_by_name(tmp_path):
    save_weights(awbench.build("se_resnet20"), tmp_path / "x.safetensors")
    message = refused(awbench.build("resnet20"), tmp_path / "x.safetensors")
    assert message.endswith("x.safetensors holds weights of se_resnet20; this network is resnet20")


@pytest.mark.parametrize(
    "held", ["se_resnet20", "cbam_resnet20", "eca_resnet20", "aw_resnet20", "aw_eca_resnet20", "resnet32", "resnet18"]
)
def test_without_metadata_another_variant_is_known_by_its_keys(held, tmp_path):
    torch.save(awbench.build(held).state_dict(), tmp_path / "x.pt")
    message = refused(awbench.build("resnet20"), tmp_path / "x.pt")
    assert f"holds weights of {held} by its tensors; this network is resnet20; " in message


@pytest.mark.parametrize(
    ("held", "other"),
    [
        ("resnet34", "resnet50"),
        ("resnet50", "resnet34"),
        ("resnet50", "resnext50_32x4d"),
        ("se_resnext50_32x4d", "se_resnet50"),
        ("wide_resnet50_2", "resnext50_32x4d"),
    ],
)
def test_equal_numbers_of_blocks_are_told_apart_by_their_kind_and_width(held, other, tmp_path):
    torch.save(awbench.build(held).state_dict(), tmp_path / "x.pt")
    message = refused(awbench.build(other), tmp_path / "x.pt")
    assert f"holds weights of {held} by its tensors; this network is {other}; " in message


def test_torchvisions_resnext_loads(tmp_path):
    theirs, ours = torchvision.models.resnext50_32x4d(weights=None), awbench.build("resnext50_32x4d")
    torch.save(theirs.state_dict(), tmp_path / "x.pth")
    assert load_weights(ours, tmp_path / "x.pth").stride_placement == "v1.5"
    assert torch.equal(outputs(ours), outputs(theirs))


def test_wrong_classes_say_how_to_build(tmp_path):
    torchvision_file(tmp_path / "x.pth", num_classes=37)
    message = refused(awbench.build("resnet18"), tmp_path / "x.pth")
    assert message.endswith(
        "is for 37 classes, this network for 1000: fc.weight is (37, 512) there and (1000, 512) here; "
        "build it with --num-classes 37 (num_classes=37 in Python)"
    )
    load_weights(awbench.build("resnet18", num_classes=37), tmp_path / "x.pth")


def test_what_does_not_fit_is_listed_five_at_most(tmp_path):
    model = awbench.build("resnet20")
    state = dict(model.state_dict())
    for block in range(3):
        del state[f"layer1.{block}.conv1.weight"], state[f"layer2.{block}.conv1.weight"]
        state[f"extra{block}.a"] = state[f"extra{block}.b"] = torch.zeros(1)
    state["bn1.bias"] = torch.zeros(17)
    state["bn1.weight"] = torch.zeros(16, dtype=torch.complex64)
    torch.save(state, tmp_path / "x.pt")
    message = refused(model, tmp_path / "x.pt")
    assert message.count("conv1.weight") == 5
    assert message.count("extra") == 5
    assert message.count(" and 1 more") == 2
    assert "of another shape: bn1.bias (17,) for (16,)" in message
    assert "of another type: bn1.weight torch.complex64 for torch.float32" in message


@pytest.mark.parametrize("odd", [torch.zeros(()), torch.zeros(3), torch.zeros(1000, 512, 1)])
def test_a_classifier_of_an_odd_shape_is_refused(odd, tmp_path):
    model = awbench.build("resnet18", num_classes=7)
    state = dict(model.state_dict())
    state["fc.weight"], state["fc.bias"] = odd, torch.zeros(3, 3)
    torch.save(state, tmp_path / "x.pt")
    assert "of another shape: fc.weight" in refused(model, tmp_path / "x.pt")
