"""Checkpoint files that are made to end the process, or to take all memory, before any reader refuses them."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import pickletools
import struct
import subprocess
import sys
import zipfile

import pytest
import torch

import awbench
from awbench.errors import UserError
from awbench.models.checkpoint_files import read_checkpoint
from awbench.models.pickle_depth import DeepPickle, check_depth
from awbench.models.weights import load_weights, save_weights
from awbench.training.checkpoint import Checkpoints

DEPTH = 100_000
NESTED = b")" + b"\x85" * DEPTH  # a tuple in a tuple in a tuple
PICKLES = {
    "a key of a dict": b"\x80\x02}" + NESTED + b"K\x01s.",
    "keys of a dict": b"\x80\x02}(" + NESTED + b"K\x01u.",
    "a member of a set": b"\x80\x02cbuiltins\nset\n](" + NESTED + b"e\x85R.",
    "a key of an OrderedDict": b"\x80\x02ccollections\nOrderedDict\n](" + NESTED + b"K\x01\x86e\x85R.",
}


READ_ALL = """
import pathlib, sys
from awbench.errors import UserError
from awbench.models.checkpoint_files import read_checkpoint
for file in pathlib.Path(sys.argv[1]).iterdir():
    try:
        read_checkpoint(file)
    except UserError as error:
        print(error)
"""


def zipped(data: bytes, compression: int = zipfile.ZIP_STORED, more: bytes = b"") -> bytes:
    """What torch.save writes, with this pickle in it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        archive.writestr("archive/data.pkl", data)
        archive.writestr("archive/version", b"3\n")
        archive.writestr("archive/byteorder", b"little")
        if more:
            archive.writestr("archive/data/0", more)
    return buffer.getvalue()


def legacy(data: bytes) -> bytes:
    """What older torch wrote: a row of pickles, the content the fourth."""
    head = [pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    return b"".join([*head, data, pickle.dumps([], 2)])


def test_deep_nesting_is_an_error_and_not_the_end_of_the_process(tmp_path):
    """torch's reader alone ends by SIGSEGV on the first of these."""
    for form in (zipped, legacy, bytes):
        for place, content in enumerate(PICKLES.values()):
            (tmp_path / f"{form.__name__}-{place}.pth").write_bytes(form(content))
    run = subprocess.run([sys.executable, "-c", READ_ALL, tmp_path], capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stderr
    lines = run.stdout.splitlines()
    assert len(lines) == 12 and all(".pth is damaged" in line or "more than weights" in line for line in lines), lines


def test_depth_is_counted_through_the_memo():
    memo = b")\x94" + b"".join(b"h" + bytes([i]) + b"\x85\x94" for i in range(200))
    for deep in (b"\x80\x04" + memo + b".", *PICKLES.values()):
        with pytest.raises(DeepPickle, match="nested more than 100 deep"):
            check_depth(io.BytesIO(deep))


@pytest.mark.parametrize("protocol", range(6))
def test_what_is_wide_is_not_deep(protocol):
    value = {str(i): [i, (i, {"a": None})] for i in range(3000)}
    shared = [value] * 3000
    file = io.BytesIO(pickle.dumps(shared, protocol) + b"rest")
    check_depth(file)
    assert file.read() == b"rest"
    check_depth(io.BytesIO(pickletools.optimize(pickle.dumps(shared, protocol))))


def test_a_real_checkpoint_with_thousands_of_tensors_passes(tmp_path):
    state = {f"layer.{i}.weight": torch.zeros(2) for i in range(3000)}
    for zip_format in (True, False):
        file = tmp_path / f"many-{zip_format}.pth"
        torch.save({"model": state}, file, _use_new_zipfile_serialization=zip_format)
        assert len(read_checkpoint(file).state) == 3000


def test_compressed_entries_are_refused_before_they_are_read(tmp_path):
    file = tmp_path / "bomb.pth"
    file.write_bytes(zipped(pickle.dumps({}, 2), zipfile.ZIP_DEFLATED, bytes(2**24)))
    assert file.stat().st_size < 2**17
    with pytest.raises(UserError, match="its entries are compressed, which torch.save never does"):
        read_checkpoint(file)


@pytest.mark.parametrize(
    "payload",
    [
        *(form(content) for form in (zipped, legacy, bytes) for content in PICKLES.values()),
        zipped(pickle.dumps({}, 2), zipfile.ZIP_DEFLATED, bytes(2**24)), b"", b"PK\x03\x04", pickle.dumps(2**99, 2),
    ],
)  # fmt: skip
def test_a_trainings_own_checkpoint_is_read_with_the_same_care(payload, tmp_path):
    """Its digest is right: somebody else has made it."""
    digest = hashlib.sha256(payload).hexdigest().encode()
    (tmp_path / "step-000000001.pt").write_bytes(b"awbench checkpoint 1\n" + digest + b"\n" + payload)
    with pytest.raises(UserError, match=r"step-000000001.pt holds .*; delete it to start again"):
        Checkpoints(tmp_path).load_newest()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
def test_a_checkpoint_that_is_no_file_is_not_waited_for(make, tmp_path):
    make(tmp_path / "step-000000001.pt")
    with pytest.raises(UserError, match=r"step-000000001.pt cannot be read: .*; delete it to start again"):
        Checkpoints(tmp_path).load_newest()


def test_entries_that_claim_more_bytes_than_the_file_are_refused(tmp_path):
    content = bytearray(zipped(pickle.dumps({}, 2), more=bytes(64)))
    place = content.rindex(b"PK\x01\x02")  # the last entry of the directory
    content[place + 24 : place + 28] = struct.pack("<I", 2**31)
    (tmp_path / "claims.pth").write_bytes(content)
    with pytest.raises(UserError, match="claims.pth is damaged or truncated"):
        read_checkpoint(tmp_path / "claims.pth")


@pytest.mark.parametrize("key", ["model_ema", "state_dict_ema", "ema_state_dict"])
def test_averaged_weights_beside_the_plain_ones_are_said(tmp_path, key):
    network = awbench.build("resnet20")
    plain = network.state_dict()
    averaged = {name: torch.zeros_like(tensor) for name, tensor in plain.items()}
    torch.save({"state_dict": plain, key: averaged}, tmp_path / "both.pth")
    loaded = load_weights(awbench.build("resnet20"), tmp_path / "both.pth")
    assert any(f"it also holds averaged (EMA) weights, under {key!r}; the plain" in note for note in loaded.notes)
    network = awbench.build("resnet20")
    notes = load_weights(network, tmp_path / "both.pth", averaged=True).notes
    assert notes == (f"its averaged (EMA) weights, under {key!r}, were read",)
    assert not any(tensor.any() for tensor in network.state_dict().values())
    torch.save({"state_dict": plain}, tmp_path / "one.pth")
    assert not any("EMA" in note for note in load_weights(network, tmp_path / "one.pth").notes)


def test_torchvisions_averaged_weights_are_read_without_their_counter(tmp_path):
    """torch.optim.swa_utils.AveragedModel's names, as torchvision's references save them."""
    network = awbench.build("resnet20")
    averaged = {f"module.{name}": tensor + 1 for name, tensor in network.state_dict().items()}
    content = {"model": network.state_dict(), "model_ema": {"n_averaged": torch.tensor(3), **averaged}}
    torch.save(content, tmp_path / "both.pth")
    load_weights(loaded := awbench.build("resnet20"), tmp_path / "both.pth", averaged=True)
    assert torch.equal(loaded.conv1.weight, network.conv1.weight + 1)


@pytest.mark.parametrize(
    ("mark", "plain", "prefix"),
    [
        ("message_hub", "ema_state_dict", "module."),
        ("averaging_state", "current_model_state", ""),
    ],  # MMEngine, Lightning
)
def test_files_whose_state_dict_is_the_averaged_one_are_known(mark, plain, prefix, tmp_path):
    """As MMEngine and Lightning write them."""
    network = awbench.build("resnet20")
    averaged = {name: tensor + 1 for name, tensor in network.state_dict().items()}
    own = {f"{prefix}{name}": tensor for name, tensor in network.state_dict().items()}
    content = {"state_dict": averaged, plain: {**own, "steps": torch.tensor(3)}, mark: {}}
    torch.save(content, tmp_path / "both.pth")
    loaded = load_weights(read := awbench.build("resnet20"), tmp_path / "both.pth")
    assert torch.equal(read.conv1.weight, network.conv1.weight)
    assert any("averaged (EMA) weights, under 'state_dict'; the plain ones were read" in note for note in loaded.notes)
    loaded = load_weights(read := awbench.build("resnet20"), tmp_path / "both.pth", averaged=True)
    assert torch.equal(read.conv1.weight, network.conv1.weight + 1)
    assert loaded.notes == ("its averaged (EMA) weights, under 'state_dict', were read",)


def test_other_weights_of_the_same_names_are_said_whatever_they_are_called(tmp_path):
    network = awbench.build("resnet20")
    state = network.state_dict()
    shadow = {f"module.{name}": tensor + 1 for name, tensor in state.items()}
    optimizer = torch.optim.SGD(network.parameters()).state_dict()
    content = {"state_dict": state, "model": state, "shadow\x1b": shadow, "optimizer": optimizer, "args": {"a": 1}}
    torch.save(content, tmp_path / "several.pth")
    notes = load_weights(awbench.build("resnet20"), tmp_path / "several.pth").notes
    assert [note for note in notes if "also holds" in note] == [
        "it also holds weights under \"'shadow\\\\x1b'\", which were not read"
    ]


def test_averaged_weights_that_a_file_lacks_are_an_error(tmp_path):
    network = awbench.build("resnet20")
    save_weights(network, tmp_path / "ours.safetensors")
    torch.save(network.state_dict(), tmp_path / "plain.pth")
    for name in ("ours.safetensors", "plain.pth"):
        with pytest.raises(UserError, match=rf"{name} has no averaged \(EMA\) weights"):
            load_weights(network, tmp_path / name, averaged=True)


def test_weights_in_a_file_whose_name_is_no_utf8_are_read(tmp_path):
    path = tmp_path / os.fsdecode(b"w\xff.safetensors")
    network = awbench.build("resnet20")
    save_weights(network, path)
    load_weights(read := awbench.build("resnet20"), path)
    assert torch.equal(read.conv1.weight, network.conv1.weight)
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match="is damaged or truncated"):
        load_weights(network, path)
