"""What the fused kernels need of a multiprocessor of compute capability 9.0, compiled without a GPU.

For every 3x3 convolution of ResNet-50, dtype, layout and e that the tiles are chosen for: registers a thread, bytes on
the stack (spilled registers, with these kernels), shared memory, wgmma instructions, programs that fit a
multiprocessor. A table for the installed Triton goes into docs/gpu.md; `--check` holds all to limits instead.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tabulate import tabulate

from awbench.kernels import fused
from awbench.kernels.geometry import Geometry
from awbench.measure.aw_speed import RESNET50_SHAPES, Shape

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "gpu.md"
KERNELS = ("convolve", "input_gradient", "kernel_gradients")
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16, "tf32": torch.float32}
LAYOUTS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
EXPANSIONS = ("C1", 16, 1)
BATCH = 64
# Of compute capability 9.0 (CUDA C++ Programming Guide, technical specifications).
_REGISTERS, _SHARED_BYTES, _RESERVED_BYTES, _THREADS, _PROGRAMS = 65536, 233472, 1024, 2048, 32
MOST_REGISTERS = 200  # of 255: room for what another Triton needs; chosen
FIELDS = ("registers", "stack", "shared", "wgmma", "programs")
HEADERS = [
    "kernel", "dtype", "e", "registers a thread", "bytes on the stack", "bytes of shared memory", "wgmma",
    "programs a multiprocessor",
]  # fmt: skip
_KINDS = {torch.bfloat16: "*bf16", torch.float16: "*fp16", torch.float32: "*fp32"}


class Case(NamedTuple):
    """A request the kernels are tuned for; e is "C1" or a number of channels."""

    shape: Shape
    dtype: str
    layout: str
    e: str | int


class Launch(NamedTuple):
    """What Triton compiles a kernel for: types, numbers that are 1, those that 16 divides, constants, options."""

    kernel: str
    signature: tuple[tuple[str, str], ...]
    constants: tuple[tuple[str, Any], ...]
    divisible: tuple[str, ...]
    options: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Need:
    """Registers of a thread, bytes on its stack, bytes of shared memory, wgmma instructions, programs that fit."""

    registers: int
    stack: int
    shared: int
    wgmma: int
    programs: int


CASES = list(itertools.starmap(Case, itertools.product(RESNET50_SHAPES, DTYPES, LAYOUTS, EXPANSIONS)))


def launches(case: Case) -> list[Launch]:
    """The kernels of a forward and a backward pass, recorded on tensors without memory."""
    C, dtype, layout = case.shape.channels, DTYPES[case.dtype], LAYOUTS[case.layout]
    size, out = case.shape.size, -(-case.shape.size // case.shape.stride)
    I, dO = (torch.empty(BATCH, C, s, s, dtype=dtype, device="meta").to(memory_format=layout) for s in (size, out))
    K = torch.empty(C, C, 3, 3, dtype=dtype, device="meta").to(memory_format=layout)
    e = C if case.e == "C1" else int(case.e)
    A = torch.empty(BATCH, C * C // e, 3, 3, dtype=dtype, device="meta")  # as Pointconv2 makes it
    A = A.to(memory_format=layout).unflatten(1, (C, C // e))
    geometry = Geometry([case.shape.stride] * 2, [1, 1], [1, 1])
    with _recorded() as found:
        fused.forward(I, K, A, None, geometry)
        fused.backward(dO, I, K, A, geometry)
    return found


@contextlib.contextmanager
def _recorded() -> Iterator[list[Launch]]:
    """Kernels are noted instead of launched."""
    from awbench.kernels import triton_kernels

    found: list[Launch] = []
    own = {name: getattr(triton_kernels, name) for name in KERNELS}

    class Recorder:
        def __init__(self, name: str) -> None:
            self.name = name

        def __getitem__(self, grid: Any) -> Callable[..., None]:
            def note(*args: Any, **named: Any) -> None:
                found.append(_launch(self.name, own[self.name], args, named))

            return note

    for name in KERNELS:
        setattr(triton_kernels, name, Recorder(name))
    try:
        yield found
    finally:
        for name in KERNELS:
            setattr(triton_kernels, name, own[name])


def _launch(name: str, kernel: Any, args: Sequence[Any], named: dict[str, Any]) -> Launch:
    options = {key: named.pop(key) for key in ("num_warps", "num_stages") if key in named}
    values = dict(zip(kernel.arg_names, args, strict=False)) | named
    fixed = {p.name for p in kernel.params if p.is_constexpr}
    signature, constants, divisible = {}, {}, []
    for key in kernel.arg_names:
        value = values[key]
        if key in fixed or (isinstance(value, int) and value == 1):  # as Triton specialises at a launch
            signature[key], constants[key] = "constexpr", value
        elif isinstance(value, torch.Tensor):
            signature[key] = _KINDS[value.dtype]
            divisible.append(key)
        else:
            signature[key] = "i32" if abs(value) < 2**31 else "i64"
            if value % 16 == 0:
                divisible.append(key)
    return Launch(
        name, tuple(signature.items()), tuple(constants.items()), tuple(divisible), tuple(sorted(options.items()))
    )


def need(launch: Launch) -> Need:
    """Compile a kernel for capability 9.0 and read what it needs."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from awbench.kernels import triton_kernels

    kernel = getattr(triton_kernels, launch.kernel)
    at = {name: (kernel.arg_names.index(name),) for name in kernel.arg_names}
    source = ASTSource(
        fn=kernel,
        signature=dict(launch.signature),
        constexprs={at[name]: value for name, value in launch.constants},
        attrs={at[name]: [["tt.divisibility", 16]] for name in launch.divisible},
    )
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=dict(launch.options))
    warps = compiled.metadata.num_warps
    registers, stack = _usage(compiled.asm["cubin"])
    shared = compiled.metadata.shared
    per_warp = -(-registers * 32 // 256) * 256  # allocated by 256
    programs = min(
        _REGISTERS // per_warp // warps, _SHARED_BYTES // (shared + _RESERVED_BYTES), _THREADS // 32 // warps, _PROGRAMS
    )
    return Need(registers, stack, shared, compiled.asm["ptx"].count("wgmma.mma_async"), programs)


def _usage(cubin: bytes) -> tuple[int, int]:
    """(registers, bytes of stack) of machine code, by the disassembler that comes with Triton."""
    import triton

    tool = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+)", text)
    assert found, text
    return int(found[1]), int(found[2])


def needs(cases: Sequence[Case], processes: int) -> dict[Case, dict[str, Need]]:
    """By case and kernel; each distinct kernel is compiled once."""
    wanted = {case: launches(case) for case in cases}
    distinct = list(dict.fromkeys(launch for found in wanted.values() for launch in found))
    with ProcessPoolExecutor(processes) as pool:
        compiled = dict(zip(distinct, pool.map(need, distinct), strict=True))
    return {case: {launch.kernel: compiled[launch] for launch in found} for case, found in wanted.items()}


def over_limits(found: dict[Case, dict[str, Need]]) -> list[str]:
    """A line for each kernel that spills, needs too many registers, has no wgmma, or of which too few fit."""
    lines = []
    for case, kernels in found.items():
        for name, need in kernels.items():
            fewest = 2 if case.e == "C1" and name != "kernel_gradients" else 1  # others have 8 warps
            wrong = {
                f"{need.stack} bytes on the stack": need.stack > 0,
                f"{need.registers} registers, {MOST_REGISTERS} at most": need.registers > MOST_REGISTERS,
                "no wgmma": need.wgmma == 0,
                f"{need.programs} programs a multiprocessor, {fewest} at least": need.programs < fewest,
            }
            lines += [f"{_label(case)}, {name}: {what}" for what, is_so in wrong.items() if is_so]
    return lines


def _label(case: Case) -> str:
    return f"{case.shape}, {case.dtype}, {case.layout}, e = {case.e}"


def table_of(found: dict[Case, dict[str, Need]]) -> str:
    """Of every kernel, dtype and e, the smallest and the largest over shapes and layouts."""
    groups: dict[tuple[str, str, str | int], list[Need]] = {}
    for case, kernels in found.items():
        for name, need in kernels.items():
            groups.setdefault((name, case.dtype, case.e), []).append(need)
    rows = [
        [*key, *(_range([getattr(need, field) for need in groups[key]]) for field in FIELDS)]
        for key in sorted(groups, key=lambda key: KERNELS.index(key[0]))
    ]
    return tabulate(rows, HEADERS, tablefmt="github", disable_numparse=True)


def _range(values: list[int]) -> str:
    return str(min(values)) if min(values) == max(values) else f"{min(values)} to {max(values)}"


def _select(words: list[str]) -> list[Case]:
    """Cases whose labels hold all the words."""
    return [case for case in CASES if all(word in _label(case) for word in words)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*", metavar="WORD", help="only cases with these in their labels; none written")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where a limit is exceeded")
    parser.add_argument("--all", action="store_true", help="print every configuration, and write nothing")
    parser.add_argument("--processes", type=int, default=2)
    args = parser.parse_args()
    cases = _select(args.words)
    if not cases:
        print(f"gpu_resources: no case has {' and '.join(args.words)}; e.g. '{_label(CASES[0])}'", file=sys.stderr)
        return 2
    import triton

    found = needs(cases, args.processes)
    if args.all or (args.words and not args.check):
        rows = [
            [_label(case), name, *astuple(need)] for case, kernels in found.items() for name, need in kernels.items()
        ]
        print(tabulate(rows, ["case", "kernel", *HEADERS[3:]], tablefmt="github"))
        return 0
    text, new = DOCUMENT.read_text(), _with_table(found, ".".join(triton.__version__.split(".")[:2]))
    if not args.check:
        DOCUMENT.write_text(new)
        return 0
    lines = over_limits(found)
    if not args.words and new != text:
        lines.append(f"{DOCUMENT.name} has another table for Triton {triton.__version__}")
    print("\n".join(lines) or f"Triton {triton.__version__}: {len(cases)} cases are within the limits")
    return int(bool(lines))


def _with_table(found: dict[Case, dict[str, Need]], version: str) -> str:
    """The document with the table of a Triton that it has a place for."""
    mark = rf"(<!-- resources {re.escape(version)} -->\n).*?(<!-- /resources {re.escape(version)} -->)"
    return re.sub(mark, lambda m: f"{m[1]}{table_of(found)}\n{m[2]}", DOCUMENT.read_text(), flags=re.S)


if __name__ == "__main__":
    sys.exit(main())
