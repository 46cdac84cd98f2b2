"""Write the floors of docs/gpu.md again: what a GPU's published rates allow each convolution of ResNet-50.

`--check` compares instead, for a test. Rates are the vendor's peaks; the first run replaces them by measured ones.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from tabulate import tabulate

from awbench.measure.aw_speed import RESNET50_SHAPES, Rates, floors_of

DOCUMENT = Path(__file__).resolve().parents[1] / "docs" / "gpu.md"
BATCH, BYTES = 64, 2  # bfloat16
# NVIDIA's data sheets of the SXM boards, dense: bytes and bfloat16 operations a second.
GPUS = {"H100": Rates(3.35e12, 989e12), "H200": Rates(4.8e12, 989e12)}


def rows() -> list[list[str]]:
    made = []
    for shape in RESNET50_SHAPES:
        out = -(-shape.size // shape.stride)
        I, K, O = (BATCH * shape.channels * shape.size**2, 9 * shape.channels**2, BATCH * shape.channels * out**2)
        for backward in (False, True):
            cells = [str(shape), "forward and backward" if backward else "forward"]
            for rates in GPUS.values():
                found = floors_of(I, K, O, 9 * shape.channels, BYTES, backward, rates)
                cells += [f"{found[name] * 1e6:.1f}" for name in ("bytes", "operations")]
            made.append(cells)
    return made


def main() -> int:
    headers = ["shape", "direction", *(f"{gpu}, {floor} (us)" for gpu in GPUS for floor in ("bytes", "operations"))]
    table = tabulate(rows(), headers, tablefmt="github", disable_numparse=True)
    text = DOCUMENT.read_text()
    new = re.sub(r"(<!-- floors -->\n).*?(<!-- /floors -->)", lambda m: f"{m[1]}{table}\n{m[2]}", text, flags=re.S)
    if "--check" in sys.argv[1:]:
        return int(new != text)
    DOCUMENT.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
