"""The convolutions in C at sizes that fill their blocks, on every kind of processor the compiler can pretend, and the
compiler itself."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import logging
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from c_compiler import needs_compiler

from awbench.errors import UserError
from awbench.kernels import aw_conv2d, blocked, compiled, direct, native
from awbench.kernels.geometry import Geometry

CPU = torch.device("cpu")
SOURCE = Path(direct.__file__).with_name("direct.c")
IN_C = {"direct": direct, "blocked": blocked}

# N, C1, C2, H, W, groups, values of the map, kernel, stride, padding, dilation
SHAPES = [
    (2, 300, 40, 6, 5, 1, 1, (3, 3), 1, 1, 1),  # more channels than a chunk, and a ragged block
    (3, 40, 300, 5, 7, 1, 1, (3, 3), 2, 1, 1),  # so backward, and rows shorter than a tile
    (1, 64, 64, 9, 9, 1, 2, (3, 3), 1, 1, 1),  # blocks of one value of the map
    (2, 120, 96, 5, 5, 2, 4, (2, 3), 1, 0, 2),  # of 15 channels a value: no block is whole
    (5, 33, 65, 3, 3, 1, 33, (1, 1), 3, 0, 1),  # a value a channel, pixels that no tap reaches
    (2, 32, 32, 4, 4, 1, 1, (3, 3), 1, 4, 1),  # outputs that see padding alone
    (1, 16, 16, 1, 40, 1, 1, (1, 5), 2, (0, 2), 1),
    (3, 16, 16, 14, 29, 1, 1, (3, 3), 1, 1, 1),  # one vector of channels, and rows of several pieces
    (5, 17, 16, 9, 8, 1, 1, (3, 3), (2, 3), 1, 1),
    (2, 32, 8, 6, 7, 1, 1, (3, 3), (1, 2), 1, 1),  # one vector of outputs, two blocks of inputs at a time
]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture
def fresh(monkeypatch, tmp_path, caplog):
    """Nothing is compiled yet, and notices are logged; returns the folder where it will lie."""
    caplog.set_level(logging.INFO, "awbench.kernels")
    monkeypatch.setenv("AWBENCH_CACHE", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setattr(native, "library_or_reason", functools.cache(native.library_or_reason.__wrapped__))
    return tmp_path / "kernels"


def results(strategy, shape, channels_last=False, place="cpu"):
    N, C1, C2, H, W, groups, compact, kernel, *settings = shape
    torch.manual_seed(0)
    leaves = [
        torch.randn(size, dtype=torch.float64, device=place)
        for size in ((N, C1, H, W), (C2, C1 // groups, *kernel), (N, C2, compact, *kernel), (C2,))
    ]
    if channels_last:
        leaves[:2] = [leaf.to(memory_format=torch.channels_last) for leaf in leaves[:2]]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    out = aw_conv2d(*leaves, *settings, groups, strategy=strategy)
    numbers = torch.linspace(-1, 1, out.numel(), dtype=torch.float64, device=place)
    gradient = torch.empty_like(out).copy_(numbers.view(out.shape))  # in the output's layout, as networks have it
    return [out, *torch.autograd.grad(out, leaves, gradient)]


def hold_to_the_oracle(shape, strategy="direct", **options):
    for ours, exact in zip(results(strategy, shape, **options), results("oracle", shape, **options), strict=True):
        assert (ours - exact).norm() <= 1e-14 * exact.norm()


@needs_compiler
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("strategy", IN_C)
def test_it_is_the_oracle_whatever_the_sizes_threads_and_layout(strategy, shape, count, channels_last, threads):
    threads(count)
    hold_to_the_oracle(shape, strategy, channels_last=channels_last)


@needs_compiler
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("strategy", IN_C)
def test_the_same_threads_give_the_same_bits(strategy, count, threads):
    threads(count)
    first, *others = (results(strategy, (7, 48, 80, 15, 14, 1, 1, (3, 3), 1, 1, 1)) for _ in range(4))
    assert all(torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True))


@needs_compiler
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the options are of x86")
@pytest.mark.parametrize("option", ["-mno-avx512f", "-mno-avx"])
@pytest.mark.parametrize("strategy", IN_C)
def test_it_is_the_oracle_on_processors_with_less(strategy, option, fresh, monkeypatch):
    monkeypatch.setenv("CC", f"cc {option}")
    for shape, channels_last in itertools.product(SHAPES, (False, True)):
        hold_to_the_oracle(shape, strategy, channels_last=channels_last)


@needs_compiler
@pytest.mark.parametrize("strategy", IN_C)
def test_views_and_frozen_tensors(strategy, threads):
    threads(2)
    I, K, A = torch.randn(4, 40, 12, 9), torch.randn(64, 40, 3, 3), torch.rand(4, 64, 1, 3, 3)
    views = I[::2, :, 1::2].flip(1), K.transpose(2, 3)[:40], A[:2, :40].transpose(3, 4)
    with torch.inference_mode():
        found, exact = (aw_conv2d(*views, None, 1, 1, strategy=name) for name in (strategy, "oracle"))
    torch.testing.assert_close(found, exact, rtol=1e-4, atol=1e-4)


@needs_compiler
@pytest.mark.parametrize("strategy", IN_C)
def test_what_lies_beside_a_view_is_never_read(strategy):
    I, dO = (torch.full((2, 64, 6, 6), torch.nan, dtype=torch.float64) for _ in range(2))
    I, dO = (image.to(memory_format=torch.channels_last) for image in (I, dO))
    for image in (I, dO):
        image[:, :12] = torch.randn(2, 12, 6, 6)
    tensors = I[:, :12], torch.randn(12, 12, 3, 3).double(), torch.rand(2, 12, 1, 3, 3).double()
    geometry = Geometry([1, 1], [1, 1], [1, 1])
    found = IN_C[strategy].backward(dO[:, :12], *tensors, geometry)
    assert all(gradient.isfinite().all() for gradient in found)


@needs_compiler
@pytest.mark.parametrize("strategy", IN_C)
def test_one_kernel_for_all_channels(strategy):
    """A kernel expanded over C1 has one place for many numbers, but a gradient for each."""
    I, K, A = (torch.randn(size, dtype=torch.float64) for size in ((2, 5, 6, 6), (7, 1, 3, 3), (2, 7, 1, 3, 3)))
    gradients = []
    for name in (strategy, "oracle"):
        one = K.clone().requires_grad_()
        (aw_conv2d(I, one.expand(7, 5, 3, 3), A, strategy=name) ** 2).sum().backward()
        gradients.append(one.grad)
    torch.testing.assert_close(*gradients, rtol=1e-12, atol=1e-12)


@needs_compiler
@pytest.mark.parametrize("real", ["float", "double"])
@pytest.mark.parametrize("strategy", IN_C)
def test_the_source_has_no_warnings(strategy, real, tmp_path):
    source = str(SOURCE.with_stem(strategy))
    command = ["cc", *compiled._OPTIONS, "-Wall", "-Wextra", "-Werror", "-fopenmp", f"-DREAL={real}", source]
    run = subprocess.run([*command, "-o", str(tmp_path / "out.so")], capture_output=True, text=True)
    assert (run.returncode, run.stderr) == (0, "")


@needs_compiler
def test_it_is_compiled_once_and_then_read_from_the_cache(fresh, caplog):
    assert direct.unsupported_reason(CPU, torch.float32) is None
    [kept] = fresh.iterdir()
    [record] = caplog.records
    assert record.levelname == "INFO", "a notice is not a warning"
    logged = record.getMessage()
    assert logged.startswith("awbench: a kernel for this processor was compiled in ")
    assert logged.endswith(f" s, kept in {kept}")
    before = kept.stat().st_mtime_ns
    as_a_new_process(caplog)
    assert direct.unsupported_reason(CPU, torch.float32) is None
    assert kept.stat().st_mtime_ns == before
    assert not caplog.messages


@pytest.fixture
def direct_alone(fresh, monkeypatch):
    """No other strategy asks for the compiler."""
    monkeypatch.setattr(blocked, "unsupported_reason", lambda device, dtype: "is not of this test")


def as_a_new_process(caplog):
    native.library_or_reason.cache_clear()
    caplog.clear()


@needs_compiler
@pytest.mark.parametrize("damage", [lambda b: b[:-100], lambda b: b"", lambda b: b[:3000] + b"x" + b[3001:]])
def test_a_corrupt_file_is_logged_and_compiled_again(damage, fresh, caplog):
    hold_to_the_oracle(SHAPES[0])
    [kept] = fresh.iterdir()
    intact = kept.read_bytes()
    kept.write_bytes(damage(intact))
    as_a_new_process(caplog)
    hold_to_the_oracle(SHAPES[0])
    assert caplog.messages[0] == f"awbench: the compiled {kept} is corrupt; it is compiled again"
    assert len(kept.read_bytes()) == len(intact)


@needs_compiler
def test_another_processor_gets_its_own(fresh, monkeypatch, caplog):
    direct.unsupported_reason(CPU, torch.float32)
    monkeypatch.setattr(compiled, "cpu_features", lambda: "other")
    as_a_new_process(caplog)
    direct.unsupported_reason(CPU, torch.float32)
    assert len(list(fresh.iterdir())) == 2


@needs_compiler
def test_a_cache_that_cannot_be_written_stops_nothing(fresh, monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("AWBENCH_CACHE", str(tmp_path / "file"))
    hold_to_the_oracle(SHAPES[0])
    assert caplog.messages[0].endswith("not kept: the cache cannot be written")


@needs_compiler
def test_two_processes_at_once(fresh):
    code = (
        "import torch; from awbench.kernels.direct import unsupported_reason;"
        "print(unsupported_reason(torch.device('cpu'), torch.float32))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate()[0] for process in both] == ["None\n", "None\n"]
    assert len(list(fresh.iterdir())) == 1


def a_compiler(folder, script):
    """An executable that does this when it compiles, and tells the version of cc; its calls are kept in "calls"."""
    path = folder / "compiler"
    path.write_text(
        f'#!/bin/sh\necho "$*" >> "{folder}/calls"\n[ "$1" = --version ] && exec cc --version\n'
        'out() { while [ "$1" != -o ]; do shift; done; echo "$2"; }\n' + script + "\n"
    )
    path.chmod(0o755)
    return str(path)


def lacking(*options):
    """A script that compiles unless it is given one of these."""
    cases = "".join(f"{option}) echo \"cc: error: unrecognized option '$word'\" >&2; exit 1;; " for option in options)
    return f'for word; do case "$word" in {cases}esac; done; exec cc "$@"'


@needs_compiler
@pytest.mark.parametrize("unknown", [["-fopenmp"], ["-march=native"], ["-fopenmp", "-march=native"]])
def test_a_compiler_that_knows_less_will_do_and_it_is_logged(unknown, fresh, monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("CC", a_compiler(tmp_path, lacking(*unknown)))
    hold_to_the_oracle(SHAPES[1])
    [logged] = caplog.messages
    missing = [option for option in ("-march=native", "-fopenmp") if option in unknown]
    assert f" s without {' and '.join(missing)}, which this compiler lacks, kept in " in logged


NO_ROOM = '{ echo first >&2; echo "no room" >&2; exit 1; }'


@needs_compiler
@pytest.mark.parametrize(
    ("script", "message"),
    [
        (NO_ROOM, r"cannot compile direct\.c: no room"),
        ("exit 3", r"cannot compile direct\.c: exit code 3"),
        ("exit 0", r"cannot compile direct\.c: exit code 0"),  # and no file
        ("printf 'no \\377 room' >&2; exit 1", r"cannot compile direct\.c: no \ufffd room"),
        ('echo > $(out "$@")', "cannot be loaded: .*TMPDIR"),
        ('echo "int block;" | cc -shared -fPIC -x c - -o $(out "$@")', "cannot be loaded: .*undefined symbol: pixels"),
        ("sleep 60 & sleep 60", "did not end in 1 s"),
        ('cc "$@" -Wno-psabi -DPIXELS=13', r"cannot compile direct\.c"),
    ],
)
def test_what_fails_is_logged_once_and_other_strategies_do_its_work(
    script, message, fresh, direct_alone, monkeypatch, tmp_path, caplog
):
    monkeypatch.setenv("CC", a_compiler(tmp_path, script))
    monkeypatch.setattr(compiled, "_LIMIT_SECONDS", 1)
    for _ in range(2):
        with pytest.raises(UserError, match=rf"'direct' .*{message}.*; use one of oracle, grouped"):
            convolve()
    assert convolve(strategy="rule").shape == (1, 4, 3, 3)
    [line] = caplog.messages
    assert line.startswith("awbench: strategy direct is left out, other strategies do its work: it ")
    assert len((tmp_path / "calls").read_text().splitlines()) <= 2  # its version, and once
    assert not fresh.exists()  # another process tries again


@needs_compiler
def test_a_library_that_computes_something_else_is_left_out(direct_alone, monkeypatch, tmp_path, caplog):
    wrong = tmp_path / "direct.c"
    wrong.write_text(SOURCE.read_text().replace("bias ? bias[b + l] : 0", "1"))
    source = dataclasses.replace(direct.SOURCE, path=wrong)
    monkeypatch.setattr(direct, "SOURCE", source)
    monkeypatch.setattr(direct, "unsupported_reason", source.unsupported_reason)
    with pytest.raises(UserError, match="'direct' was compiled, but computes something else than it should, off by"):
        convolve()
    assert "is left out" in caplog.messages[-1]


@needs_compiler
@pytest.mark.parametrize("writable", [0o777, 0o770])
def test_what_others_could_have_written_is_not_executed(writable, fresh, caplog):
    hold_to_the_oracle(SHAPES[0])
    [kept] = fresh.iterdir()
    assert fresh.stat().st_mode & 0o777 == 0o700
    fresh.chmod(writable)
    as_a_new_process(caplog)
    hold_to_the_oracle(SHAPES[0])
    used, made = caplog.messages
    assert used == f"awbench: the compiled {kept} is not used, for others could have written it"
    assert made.endswith(f"not kept: others can write {fresh}, and what lies there is executed")


@needs_compiler
@pytest.mark.parametrize(
    "compiler", ["cc -x c++", "cc -fvisibility=hidden", "cc -DX=\udcff", "cc -DX='a b'", "cc -ffast-math -w"]
)
def test_compilers_with_options_of_their_own(compiler, fresh, monkeypatch):
    monkeypatch.setenv("CC", compiler)
    hold_to_the_oracle(SHAPES[0])


@needs_compiler
def test_without_a_folder_for_temporary_files(fresh, monkeypatch):
    def none(*args, **options):
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr(compiled.tempfile, "TemporaryDirectory", none)
    with pytest.raises(
        UserError, match="'direct' needs a temporary folder to be compiled in: No usable .*; set TMPDIR"
    ):
        convolve()


@needs_compiler
def test_torchs_default_device_and_autocast_do_not_reach_it(fresh):
    torch.set_default_device("meta")
    try:
        with torch.autocast("cpu", torch.bfloat16):
            assert direct.unsupported_reason(CPU, torch.float32) is None
        found = results("direct", SHAPES[1], place="cpu")
    finally:
        torch.set_default_device(None)
    assert all(tensor.isfinite().all() for tensor in found)


@needs_compiler
def test_a_stride_beyond_the_image_needs_no_more_memory():
    for strategy in IN_C:
        hold_to_the_oracle((2, 4, 4, 9, 9, 1, 1, (3, 3), 100_000, 1, 1), strategy)


def convolve(dtype=torch.float32, strategy="direct"):
    I, K, A = torch.ones(1, 4, 5, 5), torch.ones(4, 4, 3, 3), torch.ones(1, 4, 1, 3, 3)
    return aw_conv2d(I.to(dtype), K.to(dtype), A.to(dtype), strategy=strategy)


@pytest.mark.parametrize("wanted", ["no-such-compiler", "' '", "'cc", "no-such-compiler -m64"])
def test_without_a_compiler_it_says_what_it_needs(wanted, fresh, monkeypatch):
    monkeypatch.setenv("CC", wanted)
    with pytest.raises(UserError, match=r"'direct' needs a C compiler, and .* is not one that can be run; set CC="):
        convolve()


def test_half_precision_is_unsupported_and_what_supports_it_is_named():
    with pytest.raises(UserError, match=r"strategy 'direct' has no bfloat16; use one of oracle, .*, or auto"):
        convolve(torch.bfloat16)
