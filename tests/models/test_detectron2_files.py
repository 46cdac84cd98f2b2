from __future__ import annotations

import dataclasses
import os
import pickle
import re
import struct
import tracemalloc
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.ops import FrozenBatchNorm2d

import awbench
from awbench import variants
from awbench.data.pixels import CAFFE_BGR, IMAGENET_RGB, Pixels
from awbench.errors import UserError
from awbench.models.checkpoint_files import read_checkpoint
from awbench.models.weights import load_backbone_weights, load_weights, save_weights


@pytest.fixture(autouse=True)
def thin_networks(monkeypatch):
    """The networks' names and blocks, with few channels: what is tested here is names."""
    for name in ("resnet18", "resnet50"):
        thin = dataclasses.replace(variants.ARCHITECTURES[name], widths=(8, 16, 24, 32))
        monkeypatch.setitem(variants.ARCHITECTURES, name, thin)


def network(name: str, seed: int = 0, **options) -> nn.Module:
    """With a random value in every tensor."""
    generator = torch.Generator().manual_seed(seed)
    model = awbench.build(name, **options)
    for tensor in model.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5 if tensor.is_floating_point() else seed + 7)
    return model


def body(name: str, *, frozen: bool = True, **options) -> nn.Module:
    """A detector's backbone: no classifier, and frozen norms."""
    model = network(name, seed=1, **options)
    del model.fc
    for path, module in list(model.named_modules()) if frozen else []:
        if isinstance(module, nn.BatchNorm2d):
            parent, _, attribute = path.rpartition(".")
            setattr(model.get_submodule(parent), attribute, FrozenBatchNorm2d(module.num_features))
    return model


def detectron2_name(name: str) -> str:
    """Of a tensor of ours, as tools/convert-torchvision-to-d2.py of Detectron2 renames torchvision's."""
    name = name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")
    name = re.sub(r"bn(\d)", r"conv\1.norm", name)
    return re.sub(r"layer(\d)", lambda m: f"res{int(m[1]) + 1}", name) if "layer" in name else f"stem.{name}"


def caffe2_name(name: str, folded: bool) -> str:
    """Of a tensor of ours, as Detectron (folded norms) or Detectron2's copy of MSRA's ResNets has it."""
    norm = re.search(r"bn\d|downsample\.1", name)
    weight, bias = (("s", "b") if folded else ("gamma", "beta")) if norm else ("w", "b")
    module, _, tensor = name.rpartition(".")
    module = {"bn1": "res_conv1_bn", "fc": "fc1000"}.get(module, module)
    module = re.sub(r"layer(\d)\.(\d+)\.", lambda m: f"res{int(m[1]) + 1}_{m[2]}_", module)
    module = module.replace("downsample.0", "branch1").replace("downsample.1", "branch1_bn")
    if module.startswith("res") and not module.startswith("res_"):
        module = re.sub(r"conv(\d)$", lambda m: "branch2" + "abc"[int(m[1]) - 1], module)
        module = re.sub(r"bn(\d)$", lambda m: "branch2" + "abc"[int(m[1]) - 1] + "_bn", module)
    return f"{module}_{ {'weight': weight, 'bias': bias}.get(tensor, tensor) }"


def arrays(state: dict[str, Tensor], rename=lambda name: name) -> dict[str, np.ndarray]:
    return {rename(name): tensor.numpy() for name, tensor in state.items()}


def write(path: Path, content: object, protocol: int = 2) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol=protocol))
    return path


def assert_holds(model: nn.Module, expected: nn.Module, *but: str) -> None:
    """Every tensor of `model` is bitwise that of `expected`, those whose names end as one of `but` aside."""
    theirs = expected.state_dict()
    for name, tensor in model.state_dict().items():
        assert name.endswith(but) or torch.equal(tensor, theirs[name]), name


def refused(path: Path, model: nn.Module | None = None, load=load_backbone_weights) -> str:
    """The one line that refuses the file; the network must be as it was before."""
    model = model or body("resnet18")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UserError) as caught:
        load(model, path)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert str(caught.value).startswith(f"{path} ")
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


# Detectron2's names


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_detectron2s_copy_of_torchvision_is_the_whole_classifier(protocol, tmp_path):
    theirs, ours = network("resnet50"), awbench.build("resnet50")
    content = {"model": arrays(theirs.state_dict(), detectron2_name), "__author__": "torchvision"}
    assert {"stem.conv1.norm.running_var", "res5.0.shortcut.norm.bias", "stem.fc.bias"} <= content["model"].keys()
    path = write(tmp_path / "R-50.pkl", {**content, "matching_heuristics": True}, protocol)
    loaded = load_weights(ours, path)
    assert_holds(ours, theirs)
    assert (loaded.layout, loaded.stride_placement, loaded.pixels) == ("detectron2", "v1.5", IMAGENET_RGB)
    assert loaded.notes == ()
    frozen = body("resnet50")
    assert load_backbone_weights(frozen, path).notes == ()
    assert_holds(frozen, theirs)


ZOO = {"__author__": "Detectron2 Model Zoo"}


def detector(names: dict[str, np.ndarray], prefix: str, **further: np.ndarray) -> dict[str, np.ndarray]:
    heads = ("backbone.fpn_lateral2.weight", "proposal_generator.anchor_generator.cell_anchors.0")
    heads += ("roi_heads.box_head.fc1.weight", "roi_heads.res5.0.conv1.norm.weight")
    return {
        **{prefix + name: array for name, array in names.items() if not re.match(r"(stem\.)?fc\.|backbone", name)},
        **{head: np.ones(3, np.float32) for head in heads if prefix != "backbone." or not head.startswith(prefix)},
        **further,
    }


def mean_and_std(mean, std) -> dict[str, np.ndarray]:
    return {
        name: np.array(values, np.float32).reshape(3, 1, 1)
        for name, values in (("pixel_mean", mean), ("pixel_std", std))
    }


RGB = Pixels("RGB", (123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
DIVIDED = Pixels("BGR", (103.53, 116.28, 123.675), (57.375, 57.12, 58.395))


@pytest.mark.parametrize(
    ("prefix", "author", "stated", "pixels", "stride"),
    [
        ("backbone.bottom_up.", ZOO, CAFFE_BGR, CAFFE_BGR, "v1"),
        ("backbone.bottom_up.", {}, CAFFE_BGR, CAFFE_BGR, None),
        ("bottom_up.", ZOO, None, CAFFE_BGR, "v1"),
        ("backbone.", ZOO, DIVIDED, DIVIDED, None),
        ("module.backbone.bottom_up.", ZOO, RGB, IMAGENET_RGB, None),
    ],
)
def test_a_detectors_backbone_says_what_pixels_it_expects(prefix, author, stated, pixels, stride, tmp_path):
    theirs, ours = network("resnet50"), body("resnet50", stride_placement="v1")
    buffers = mean_and_std(stated.mean, stated.std) if stated else {}
    names = detector(arrays(theirs.state_dict(), detectron2_name), prefix, **buffers)
    loaded = load_backbone_weights(ours, write(tmp_path / "model_final.pkl", {"model": names, **author}))
    assert_holds(ours, theirs)
    assert (loaded.layout, loaded.stride_placement, loaded.pixels) == ("detectron2", stride, pixels)
    assert any("does not say where the strides" in note for note in loaded.notes) == (stride is None)
    told = f"{pixels.order} pixels of mean {pixels.mean} and std {pixels.std}"
    assert any(told in note for note in loaded.notes) == (pixels != IMAGENET_RGB)


@pytest.mark.parametrize("mean", [[1.0, 2.0], [float("nan"), 1.0, 1.0], [-300.0, 0.0, 0.0]])
def test_pixels_that_make_no_sense_are_refused(mean, tmp_path):
    names = detector(arrays(network("resnet18").state_dict(), detectron2_name), "backbone.bottom_up.")
    names["pixel_mean"], names["pixel_std"] = np.array(mean, np.float32), np.ones(3, np.float32)
    assert "expected three channels on the 0..255 scale" in refused(write(tmp_path / "x.pkl", {"model": names}))


# Caffe2's names


def python2_pickle(content: dict[str, np.ndarray]) -> bytes:
    """As Python 2 and numpy 1 write it: protocol 2, text and bytes alike as byte strings."""

    def string(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    parts = [b"\x80\x02}"]
    for name, array in content.items():
        shape = b"(" + b"".join(b"J" + struct.pack("<i", size) for size in array.shape) + b"t"
        dtype = b"cnumpy\ndtype\n" + string(array.dtype.str[1:].encode()) + b"K\x00K\x01\x87R"
        dtype += b"(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR"
        parts += [string(name.encode()), made, b"(K\x01", shape, dtype, b"\x89", string(array.tobytes()), b"tbs"]
    return b"".join([*parts, b"."])


def test_python_2_pickles_are_read_as_python_reads_them(tmp_path):
    content = {"a": np.arange(300, dtype=np.float32).reshape(3, 100), "b": np.array(7, np.int64)}
    pickled = python2_pickle(content)
    state = read_checkpoint(write(tmp_path / "x.pkl", pickled)).state
    for name, array in pickle.loads(pickled, encoding="latin1").items():
        assert np.array_equal(array, content[name])
        assert np.array_equal(state[name].numpy(), array)


@pytest.mark.parametrize("whole", [False, True], ids=["backbone", "classifier"])
def test_detectron2s_copy_of_msra_is_read_bitwise(whole, tmp_path):
    theirs = network("resnet50")
    names = arrays(theirs.state_dict(), lambda name: caffe2_name(name, folded=False))
    names = {name: array for name, array in names.items() if "num_batches" not in name}
    assert {"conv1_w", "res_conv1_bn_gamma", "res2_0_branch1_bn_running_var", "res5_2_branch2c_w", "fc1000_b"} < {
        *names
    }
    names["conv1_b"] = np.zeros(8, np.float32)
    path = write(tmp_path / "R-50.pkl", {"model": names, "__author__": "Caffe2", "matching_heuristics": True})
    if whole:
        ours = awbench.build("resnet50", stride_placement="v1")
        loaded = load_weights(ours, path)
    else:
        ours = body("resnet50", stride_placement="v1")
        loaded = load_backbone_weights(ours, path)
    assert_holds(ours, theirs, ".num_batches_tracked")
    assert (loaded.layout, loaded.stride_placement, loaded.pixels) == ("caffe2", "v1", CAFFE_BGR)
    assert [note.split()[0] for note in loaded.notes] == ["trained", *(["53"] if whole else [])]

    path = write(path, {"model": {**names, "conv1_b": np.full(8, -0.25, np.float32)}, "__author__": "Caffe2"})
    loaded = load_backbone_weights(body("resnet50"), path)
    assert "convolutions' biases that are not zero were left out" in loaded.notes[0]
    assert loaded.notes[0].endswith("conv1.bias of up to 0.25")
    assert "for stride placement v1, this network has v1.5" in loaded.notes[1]


@pytest.mark.parametrize("blobs", [True, False], ids=["detector", "imagenet"])
@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_detectrons_folded_norms_scale_and_shift_alone(name, blobs, tmp_path):
    theirs, ours = network(name), body(name)
    names = arrays(theirs.state_dict(), lambda name: caffe2_name(name, folded=True))
    names = {key: array for key, array in names.items() if not key.endswith(("_tracked", "_mean", "_var"))}
    for key in [key for key in names if re.search(r"(branch\w+|conv1)_w$", key)]:
        names[key[:-1] + "b"] = np.zeros(len(names[key]), np.float32)  # pickle_caffe_blobs.py adds them
        names[key + "_momentum"] = names[key]
    assert names["res2_1_branch2b_bn_s"].shape == (8,)
    if blobs:
        heads = ("fpn_inner_res2_2_sum_w", "conv_rpn_fpn2_w", "fc6_b", "head_conv1_w", "conv_fcn1_w", "conv5_mask_w")
        names |= {head: np.ones(3, np.float32) for head in heads}
    path = write(tmp_path / "x.pkl", {"blobs": names, "cfg": "MODEL: {}"} if blobs else python2_pickle(names))
    loaded = load_backbone_weights(ours, path)
    assert_holds(ours, theirs, ".running_mean", ".running_var")
    assert (loaded.layout, loaded.pixels) == ("caffe2", CAFFE_BGR)
    assert f"the statistics of {53 if name == 'resnet50' else 20} norms are folded" in loaded.notes[0]
    x = torch.randn(2, 8, 5, 5)
    for norm in (ours.bn1, ours.layer1[0].bn2):
        folded = x * norm.weight[:, None, None] + norm.bias[:, None, None]
        torch.testing.assert_close(norm(x), folded, rtol=1e-5, atol=1e-5)


def test_other_designs_in_caffe2s_names_are_refused(tmp_path):
    names = arrays(network("resnet50").state_dict(), lambda name: caffe2_name(name, folded=True))
    names = {key.replace("_bn_", "_gn_"): array for key, array in names.items() if not key.endswith("_tracked")}
    message = refused(write(tmp_path / "R-50-GN.pkl", names), body("resnet50"))
    assert "missing: bn1.weight, bn1.bias, " in message
    assert "unexpected: " in message


# Detectors of ours and torchvision's


class Detector(nn.Module):
    def __init__(self, name: str, backbone: nn.Module) -> None:
        super().__init__()
        self.variant = variants.parse_variant(name)
        self.options = backbone.options
        self.backbone = nn.ModuleDict({"body": backbone, "fpn": nn.Conv2d(1, 1, 1)})
        self.rpn = nn.Linear(2, 2)


@pytest.mark.parametrize("engine", ["torchvision", "detectron2"])
def test_the_backbone_of_our_detectors_is_read_into_its_variant_alone(engine, tmp_path):
    theirs, ours = body("aw_resnet18"), body("aw_resnet18")
    for tensor in theirs.state_dict().values():
        tensor.mul_(2)
    model = Detector("faster_rcnn_aw_resnet18_fpn", theirs)
    path = tmp_path / "x.safetensors"
    if engine == "detectron2":
        model.backbone = nn.ModuleDict({"bottom_up": model.backbone})
    save_weights(model, path)
    loaded = load_backbone_weights(ours, path)
    assert_holds(ours, theirs)
    assert (loaded.layout, loaded.pixels, loaded.notes) == ("awbench", IMAGENET_RGB, ())
    assert refused(path, body("se_resnet18")).endswith("holds weights of aw_resnet18; this network is se_resnet18")
    assert "holds a detector" in refused(path, network("aw_resnet18"), load_weights)


def test_the_backbone_of_torchvisions_detectors_is_read(tmp_path, monkeypatch):
    monkeypatch.undo()  # torchvision's have all channels
    theirs, ours = resnet_fpn_backbone(backbone_name="resnet18", weights=None, trainable_layers=5), body("resnet18")
    state = {f"backbone.{name}": tensor for name, tensor in theirs.state_dict().items()}
    assert "backbone.body.layer4.1.bn2.running_var" in state
    assert "backbone.fpn.inner_blocks.0.0.weight" in state
    torch.save({**state, "rpn.head.cls_logits.weight": torch.ones(3)}, tmp_path / "x.pth")
    loaded = load_backbone_weights(ours, tmp_path / "x.pth")
    assert_holds(ours, theirs.body)
    assert (loaded.layout, loaded.pixels, loaded.notes) == ("torchvision", IMAGENET_RGB, ())


def test_a_classifiers_weights_are_a_backbones_without_fc(tmp_path):
    theirs = torchvision.models.resnet18(weights=None, num_classes=3)
    for tensor in theirs.state_dict().values():
        tensor.fill_(1)
    thin = network("resnet18", num_classes=3)
    torch.save(thin.state_dict(), tmp_path / "x.pth")
    for frozen in (True, False):
        ours = body("resnet18", frozen=frozen)
        load_backbone_weights(ours, tmp_path / "x.pth")
        assert_holds(ours, thin)
    assert "missing: layer" in refused(tmp_path / "x.pth", body("resnet50"))


@pytest.mark.parametrize("frozen", [True, False])
def test_a_plain_file_initialises_an_aw_backbone(frozen, tmp_path):
    theirs, ours = network("resnet18"), body("aw_resnet18", frozen=frozen)
    save_weights(theirs, tmp_path / "x.safetensors")
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items() if ".attention." in name}
    loaded = load_backbone_weights(ours, tmp_path / "x.safetensors")
    after = ours.state_dict()
    assert before
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert all(torch.equal(after[name], tensor) for name, tensor in theirs.state_dict().items() if name in after)
    assert f"the AW attention branch ({len(before)} tensors)" in loaded.notes[0]
    with pytest.raises(UserError, match="holds weights of resnet18; this network is aw_resnet18"):
        load_backbone_weights(ours, tmp_path / "x.safetensors", allow_missing_aw=False)


def test_what_does_not_fit_a_backbone_is_listed(tmp_path):
    names = arrays(network("resnet18").state_dict(), detectron2_name)
    del names["res3.0.conv1.weight"], names["res3.0.shortcut.norm.bias"]
    names["res2.0.conv1.weight"] = np.zeros((8, 8, 1, 1), np.float32)
    names["res2.0.conv9.weight"] = np.zeros(1, np.float32)
    names["stem.conv1.weight"] = names["stem.conv1.weight"].astype(np.int64)
    message = refused(write(tmp_path / "x.pkl", {"model": names}))
    assert "missing: layer2.0.conv1.weight, layer2.0.downsample.1.bias; " in message
    assert "unexpected: layer1.0.conv9.weight; " in message
    assert "of another shape: layer1.0.conv1.weight (8, 8, 1, 1) for (8, 8, 3, 3); " in message
    assert message.endswith("of another type: conv1.weight torch.int64 for torch.float32")


# Reading pickles of arrays


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_of_every_kind_are_read_as_pickle_reads_them(protocol, tmp_path):
    kinds = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "?", ">f4", ">i2")
    content = {kind: (np.arange(24) % 5).astype(kind).reshape(2, 3, 4) for kind in kinds}
    content |= {"fortran": np.asfortranarray(content["f4"]), "strided": content["f4"][:, ::2, 1:]}
    content |= {"array": np.array(2.5), "scalar": np.float32(2.5), "shared": content["f8"]}
    model = OrderedDict(content)
    model._metadata = {"": {"version": 1}}  # as torch's state dicts have
    file = read_checkpoint(write(tmp_path / "x.pth", {"model": model, "__author__": "me", "n": [1, (2,)]}, protocol))
    assert file.author == "me"
    assert file.state.keys() == content.keys()
    for name, array in content.items():
        assert file.state[name].numpy().dtype == array.dtype.newbyteorder("=")
        assert np.array_equal(file.state[name].numpy(), array), name
        assert file.state[name].shape == array.shape


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_what_torch_saved_is_known_by_its_content_whatever_its_name(zipped, tmp_path):
    theirs, ours = network("resnet18"), body("resnet18")
    torch.save({"model": theirs.state_dict()}, tmp_path / "R-18.pkl", _use_new_zipfile_serialization=zipped)
    load_backbone_weights(ours, tmp_path / "R-18.pkl")
    assert_holds(ours, theirs)


class Reduced:
    """Pickled as a call of `function`, which makes the file `ran` if it runs."""

    def __init__(self, function, *arguments) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


def hostile(kind: str, ran: Path) -> object:
    payload = Reduced(os.system, f"touch '{ran}'")
    return {
        "system": payload,
        "eval": Reduced(eval, f"open({str(ran)!r}, 'w').close()"),
        "object array": np.array([payload, 1], dtype=object),
        "numpy function": Reduced(np.save, str(ran), [1]),
        "memmap": Reduced(np.memmap, str(ran), "u1", "w+", 0, (3,)),
        "subclass": np.memmap(ran, "u1", "w+", 0, (3,)),
        "in a key": {"a": {"b": [payload]}},
    }[kind]


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    ("kind", "named"),
    [
        ("system", "posix.system"),
        ("eval", "__builtin__.eval|builtins.eval"),
        ("object array", "posix.system"),
        ("numpy function", r"numpy(\.\w+)?\.save"),
        ("memmap", "numpy(\\.\\w+)*\\.memmap"),
        ("subclass", "numpy(\\.\\w+)*\\.memmap"),
        ("in a key", "posix.system"),
    ],
)
def test_a_pickle_that_would_run_code_is_refused_by_name_and_runs_nothing(kind, named, protocol, tmp_path):
    ran = tmp_path / "it-ran"
    names = arrays(network("resnet18").state_dict(), detectron2_name)
    path = write(tmp_path / "x.pkl", {"extra": hostile(kind, ran), "model": names}, protocol)
    ran.unlink(missing_ok=True)
    message = refused(path)
    assert re.search(rf"contains more than weights \(({named})\): loading it could run code", message)
    assert not ran.exists()
    if kind != "subclass":  # the payload is a live one
        pickle.loads(path.read_bytes())
        assert ran.exists() or ran.with_suffix(".npy").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": torch.ones(2)}, r"contains more than weights \(torch\._utils\._rebuild_tensor_v2\)"),
        ({"model": {"a": np.array([1, "x"], dtype=object)}}, "no array of numbers for a: its type is O8"),
        ({"model": {"a": np.array(["x"])}}, "no array of numbers for a: its type is U1"),
        ({"model": {"a": np.zeros(2, [("x", "f4")])}}, "no array of numbers for a: its type is V4"),
        ({"model": {"a": np.dtype("f4")}}, "no array of numbers for a: it is made by dtype"),
        ({"model": {"a": 3, "b": "x"}, "iteration": 10}, "holds a dict with keys model, iteration; expected"),
        ([1, 2], "holds list; expected a state dict"),
        ({}, "expected a state dict"),
        ({"a": 10**400}, "holds a dict with keys a; expected"),
        ({10**5000: np.ones(1)}, "holds a dict with keys int; expected"),
        ({(1, 2): np.ones(1)}, "is damaged or truncated .a dict with a key of type tuple"),
    ],
)
def test_what_is_no_dict_of_arrays_of_numbers_is_refused(content, message, tmp_path):
    assert re.search(message, refused(write(tmp_path / "x.pkl", content)))


def claiming(
    shape: bytes, dtype: bytes = b"U\x02f4", order: bytes = b"U\x01<", raw: bytes = b"U\x04\x00\x00\x80?"
) -> bytes:
    """{"a": an array of what it claims}."""
    made = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01btR(K\x01"
    described = (
        b"cnumpy\ndtype\n" + dtype + b"K\x00K\x01\x87R(K\x03" + order + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    return b"\x80\x02}U\x01a" + made + shape + described + b"\x89" + raw + b"tbs."


DTYPE = b"cnumpy\ndtype\nq\0"
LONG_NUMBER = b"\x8b" + struct.pack("<i", 500_000) + b"\x7f" * 500_000
HUGE = b"\x8a\x08" + (2**62).to_bytes(8, "little")


def test_a_claim_that_holds_is_read(tmp_path):
    assert read_checkpoint(write(tmp_path / "x.pkl", claiming(b"K\x01\x85"))).state["a"].tolist() == [1.0]


@pytest.mark.parametrize(
    "content",
    {
        "huge shape": claiming(HUGE + b"\x85"),
        "huge empty shape": claiming(b"K\x00" + HUGE + b"\x86", raw=b"U\x00"),
        "negative shape": claiming(b"J\xff\xff\xff\xffJ\xff\xff\xff\xff\x86"),
        "shape of text": claiming(b"U\x04abcd\x85"),
        "shape that multiplies a list": claiming(b"]K\x01a" + HUGE + b"\x86"),
        "shape that multiplies huge numbers": claiming(b"(" + LONG_NUMBER * 8 + b"t"),
        "many dimensions": claiming(b"(" + b"K\x01" * 9 + b"t"),
        "no shape": claiming(b"N"),
        "list of a shape": claiming(b"]K\x01a"),
        "short content": claiming(b"K\x02\x85"),
        "long content": claiming(b"K\x01\x85", raw=b"U\x08" + bytes(8)),
        "object pointers": claiming(b"K\x01\x85", dtype=b"U\x02O8", raw=b"U\x08AAAAAAAA"),
        "type in the byte order": claiming(b"K\x01\x85", order=b"U\x06(50,)<", raw=b"U\xc8" + bytes(200)),
        "content not latin1": claiming(b"K\x01\x85", raw=b"X\x03\x00\x00\x00\xe2\x82\xac"),
        "huge bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
        "huge byte array": b"\x80\x05\x96" + struct.pack("<Q", 2**62) + b"x.",
        "huge frame": b"\x80\x04\x95" + struct.pack("<Q", 2**62) + b"}.",
        "huge memo index": b"\x80\x02}r\xff\xff\xff\xff.",
        "deep key": b"\x80\x02})" + b"\x85" * 200_000 + b"K\x01s.",
        "exponential key": b"\x80\x02})" + b"q\x01h\x01\x86" * 100 + b"K\x01s.",
        "deep value": b"\x80\x02}K\x01)" + b"\x85" * 200_000 + b"s.",
        "deep list": b"\x80\x02}K\x01" + b"]" * 200_000 + b"a" * 199_999 + b"s.",
        "deep calls": b"\x80\x02}K\x01" + DTYPE + b"h\0" * 200_000 + b")" + b"R\x85" * 200_000 + b"Rs.",
        "deep state": b"\x80\x02}K\x01" + DTYPE + b")R" + b"h\0)R" * 200_000 + b"b" * 200_000 + b"s.",
        "itself as its state": b"\x80\x02}U\x01a" + DTYPE + b")Rq\x01h\x01bs.",
        "itself as its value": b"\x80\x02}q\x01U\x05modelh\x01s.",
        "a dict's methods": b"\x80\x02ccollections\nOrderedDict\n)R}U\x03get" + DTYPE + b"sb.",
        "pairs that are none": b"\x80\x02ccollections\nOrderedDict\n]K\x01a\x85R.",
        "odd items": b"\x80\x02}(U\x01au.",
        "a call of a list": b"\x80\x02" + DTYPE + b"]R.",
        "a frame in a frame": b"\x80\x04\x95" + struct.pack("<Q", 20) + b"\x95" + struct.pack("<Q", 2) + b"}.",
        "an instruction of the future": b"\x80\x02\xf0.",
        "long number": b"\x80\x02I" + b"9" * 5000 + b"\n.",
        "no stack": b"\x80\x02.",
        "no mark": b"\x80\x02}u.",
        "unknown memo": b"\x80\x02h\x07.",
        "call of a number": b"\x80\x02K\x01)R.",
        "state of nothing": b"\x80\x02}b.",
        "items of a list": b"\x80\x02]K\x01K\x02s.",
        "an attribute of a function": b"\x80\x02cnumpy\ndtype\n}U\x04nameU\x01xsb.",
        "line breaks in a name": b"\x80\x04\x8c\x03a\nb\x8c\x03c\x00d\x93.",
    }.items(),
    ids=lambda item: item[0],
)
def test_nonsense_and_huge_claims_are_one_line(content, tmp_path):
    refused(write(tmp_path / "x.pkl", content[1]), load=lambda model, path: read_checkpoint(path))


@pytest.mark.parametrize(
    "content",
    {
        "byte array": b"\x80\x05\x96" + struct.pack("<Q", 2**29) + b"x.",
        "bytes": b"\x80\x04\x8e" + struct.pack("<Q", 2**29) + b"x.",
        "frame": b"\x80\x04\x95" + struct.pack("<Q", 2**29) + b"}.",
        "memo": b"\x80\x02}r\xff\xff\xff\x02.",
        "shape": claiming(b"U\x01aJ\x00\x00\x00\x20\x86"),
        "one list in many dicts": b"\x80\x02ccollections\nOrderedDict\nq\x01]q\x02("
        + b"".join(b"]J" + struct.pack("<i", i) + b"aK\x01a" for i in range(10_000))
        + b"e"
        + b"h\x01h\x02\x85R" * 200
        + b".",
        "one content in many arrays": b"\x80\x02}q\x01(U\x01a"
        + claiming(b"M\x10\x27\x85", raw=b"T\x40\x9c\x00\x00" + bytes(40_000) + b"q\x02")[6:-2]
        + b"".join(
            b"U\x04" + str(i).encode() + claiming(b"M\x10\x27\x85", raw=b"h\x02")[6:-2] for i in range(1000, 3000)
        )
        + b"u.",
    }.items(),
    ids=lambda item: item[0],
)
def test_a_small_file_takes_little_memory_whatever_it_claims(content, tmp_path):
    path = write(tmp_path / "x.pkl", content[1])
    tracemalloc.start()
    try:
        refused(path, load=lambda model, path: read_checkpoint(path))
        assert tracemalloc.get_traced_memory()[1] < 100 * len(content[1]) + 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "instruction", [b"U\x01aQ", b"Pa\n", b"\x82\x01", b"(iposix\nsystem\n", b"))\x81", b"\x97", b"\x8f", b"d"]
)
def test_instructions_that_no_array_needs_are_refused(instruction, tmp_path):
    path = write(tmp_path / "x.pkl", b"\x80\x02" + instruction + b".")
    assert "contains more than weights (the pickle instruction " in refused(path)


def small_file(protocol: int) -> bytes:
    content = {"model": {"a": np.arange(3.0)}, "__author__": "Caffe2"}
    return pickle.dumps(content, protocol=protocol)


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_pickle_cut_anywhere_is_refused(protocol, tmp_path):
    content, path = small_file(protocol), tmp_path / "x.pkl"
    assert read_checkpoint(write(path, content)).state.keys() == {"a"}
    for size in range(1, len(content)):
        with pytest.raises(UserError, match="is damaged or truncated|is neither") as caught:
            read_checkpoint(write(path, content[:size]))
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_pickle_with_any_byte_changed_is_read_or_refused(protocol, tmp_path):
    content, path = small_file(protocol), tmp_path / "x.pkl"
    generator = np.random.default_rng(protocol)
    for position in range(len(content)):
        value = generator.integers(0, 256, dtype=np.uint8).tobytes()
        write(path, content[:position] + value + content[position + 1 :])
        try:
            read_checkpoint(path)
        except UserError as error:
            assert len(str(error).splitlines()) == 1
