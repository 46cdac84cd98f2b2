"""The tap-wise sum: no kernel is materialised; each tap's plain product is scaled by the map afterwards.

    O[n,c2] = sum over taps k and channel groups m of (1 + A[n,c2,m,k]) * (K[c2,m,:,k] . I[n,m,:,shifted by k])

One product for the whole batch and tap, so that the library sees few large matrices, whatever the batch; pixels
along rows and channels along columns, so that it reads K in place. Good where the output has fewer pixels than a
kernel has channels, and e is large: late stages.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from awbench.kernels.geometry import Geometry, Gradients


@dataclass(frozen=True)
class _Taps:
    """An AW-convolution, tap by tap.

    g: groups, m: values of the map along C1, e: channels that share one, o: C2/groups.

    Attributes:
        padded: the input, (N, rows, columns, C1), with its border.
        kernel: (g, m, e, taps, o), one copy of K; each tap's is a matrix with rows apart.
        factor: 1 + A or A, (taps, m, N, 1, C2).
        size: (H', W').
    """

    padded: Tensor
    kernel: Tensor
    factor: Tensor
    size: tuple[int, int]
    kernel_size: tuple[int, int]
    geometry: Geometry

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.kernel_size[0] * self.kernel_size[1]))

    def shifted(self, image: Tensor, tap: int) -> Tensor:
        """What this tap sees of `image` (N, rows, columns, C1), as a view: (N, H', W', C1)."""
        offsets = divmod(tap, self.kernel_size[1])
        for axis, offset in enumerate(offsets):
            first, step = offset * self.geometry.dilation[axis], self.geometry.stride[axis]
            image = image[(slice(None),) * (axis + 1) + (slice(first, first + step * (self.size[axis] - 1) + 1, step),)]
        return image

    def seen(self, tap: int) -> Tensor:
        """This tap's input as matrices: (g, m, N*H'*W', e)."""
        g, m, e = self.kernel.shape[:3]
        pixels = self.shifted(self.padded, tap).reshape(-1, g, m, e)
        return pixels.permute(1, 2, 0, 3)


def _taps(input: Tensor, weight: Tensor, attention_map: Tensor, geometry: Geometry) -> _Taps:
    C2, channels, h, w = weight.shape
    groups, (rows, columns) = geometry.groups, geometry.padding
    m = attention_map.shape[2]
    kernel = weight.reshape(groups, C2 // groups, channels * h * w).mT.contiguous()
    factor = attention_map.flatten(3).permute(3, 2, 0, 1)[:, :, :, None]  # (taps, m, N, 1, C2)
    return _Taps(
        padded=F.pad(input.permute(0, 2, 3, 1), (0, 0, columns, columns, rows, rows)).contiguous(),
        kernel=kernel.view(groups, m, channels // m, h * w, C2 // groups),
        factor=1 + factor if geometry.residual else factor,
        size=geometry.output_size(input, weight),
        kernel_size=(h, w),
        geometry=geometry,
    )


def _pixels_first(image: Tensor) -> Tensor:
    """(g, pixels of the batch, o) -> (N*H'*W', C2)."""
    return image.transpose(0, 1).flatten(1)


def forward(input: Tensor, weight: Tensor, attention_map: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Shapes as in `awbench.kernels.aw_conv2d`."""
    taps = _taps(input, weight, attention_map, geometry)
    wide = torch.promote_types(input.dtype, torch.float32)
    O = input.new_zeros(len(input), taps.size[0] * taps.size[1], weight.shape[0], dtype=wide)
    for k in taps:
        P = taps.seen(k)
        for m in range(attention_map.shape[2]):
            products = _pixels_first(P[:, m] @ taps.kernel[:, m, :, k])
            O.addcmul_(products.view(O.shape), taps.factor[k, m])
    O = O.to(input.dtype) if bias is None else (O + bias).to(input.dtype)
    return O.unflatten(1, taps.size).permute(0, 3, 1, 2)  # (N, C2, H', W')


def backward(
    grad_output: Tensor, input: Tensor, weight: Tensor, attention_map: Tensor, geometry: Geometry
) -> Gradients:
    """Gradients for input, weight and map, through those of the taps' products."""
    taps = _taps(input, weight, attention_map, geometry)
    g, compact, _, _, o = taps.kernel.shape
    dO = grad_output.permute(0, 2, 3, 1).flatten(1, 2).contiguous()  # (N, H'*W', C2)
    grad_padded = torch.zeros_like(taps.padded, dtype=torch.promote_types(input.dtype, torch.float32))
    grad_kernel = torch.empty_like(taps.kernel)
    grad_factor = torch.empty_like(taps.factor)
    for k in taps:
        P = taps.seen(k)
        grad_seen = torch.empty_like(P, memory_format=torch.contiguous_format)
        for m in range(compact):
            products = _pixels_first(P[:, m] @ taps.kernel[:, m, :, k]).view(dO.shape)
            grad_factor[k, m] = (dO * products).sum(1, keepdim=True)
            dY = (dO * taps.factor[k, m]).view(-1, g, o).transpose(0, 1)  # (g, pixels of the batch, o)
            grad_kernel[:, m, :, k] = P[:, m].mT @ dY
            grad_seen[:, m] = dY @ taps.kernel[:, m, :, k].mT
        target = taps.shifted(grad_padded, k)
        target += grad_seen.permute(2, 0, 1, 3).reshape(target.shape)
    (top, left), (H, W) = geometry.padding, input.shape[2:]
    grad_input = grad_padded[:, top : top + H, left : left + W].permute(0, 3, 1, 2).to(input.dtype)
    grad_weight = grad_kernel.view(g, -1, o).mT.reshape(weight.shape)
    grad_map = grad_factor[:, :, :, 0].permute(2, 3, 1, 0).reshape(attention_map.shape)
    return grad_input, grad_weight, grad_map
