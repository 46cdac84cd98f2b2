"""The Triton kernels of the fused strategy. Imported only where they run: Triton is no part of a CPU's life.

Letters: n sample, p output (or input) pixels, o output channels of a group, c input channels of a group, k tap,
m values of the map along c, e channels that share one. All tensors are dense: images I (N, H, W, C1) and outputs O
(N, HO, WO, C2), as channels_last has them, kernels K (C2, taps, channels of a group), the map A (N, taps, C2, m).
Taps and channels (or pixels) are one loop, so that loads stay ahead of products from the first to the last. Sums are
in float32.
"""

# mypy: disallow-untyped-defs=False
from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _dot(a, b, total, PRECISION: tl.constexpr, WIDE: tl.constexpr):
    """total + a b. WIDE: in float32, for Triton's interpreter, which takes bfloat16's bits for integers there."""
    if WIDE:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, total, input_precision=PRECISION)


@triton.jit
def _factor(place, inside, RESIDUAL: tl.constexpr):
    """1 + A, or A without the residual."""
    factor = tl.load(place, mask=inside, other=0.0).to(tl.float32)
    if RESIDUAL:
        factor += 1.0
    return factor


@triton.jit
def _pixels_of(program, N, pixels, tiles, SHARED: tl.constexpr, BLOCK_P: tl.constexpr):
    """(sample, pixel, whether there is one) of each row of a program's tile; and the sample of its first.

    SHARED: rows go over the pixels of all samples; otherwise each sample has `tiles` tiles of its own.
    """
    if SHARED:
        p = program * BLOCK_P + tl.arange(0, BLOCK_P)
        inside = p < N * pixels
        n = p // tl.maximum(pixels, 1)
        p = p % tl.maximum(pixels, 1)
        sample = program * BLOCK_P // tl.maximum(pixels, 1)
    else:
        sample = program // tiles
        p = (program % tiles) * BLOCK_P + tl.arange(0, BLOCK_P)
        inside = p < pixels
        n = sample + tl.zeros([BLOCK_P], tl.int32)
    return n.to(tl.int64), p, inside, tl.cast(sample, tl.int64)


@triton.jit
def _seen_taps(place, stride, dilation, period, TAPS: tl.constexpr):
    """(the first, how many) of one side's taps k for which `place - k * dilation` is a multiple of the stride.

    They are `period` apart: the stride over its greatest common divisor with the dilation.
    """
    first = TAPS
    for back in tl.static_range(TAPS):
        k = TAPS - 1 - back
        first = tl.where((place + stride * dilation * TAPS - k * dilation) % stride == 0, k, first)
    return first, tl.cdiv(TAPS - first, period)


@triton.jit
def _convolve(
    I, K, A, B, O,
    N, H, W, HO, WO, C1, C2, channels, o_count, e,
    stride_h, stride_w, pad_h, pad_w, dil_h, dil_w,
    KW: tl.constexpr, TAPS: tl.constexpr, RESIDUAL: tl.constexpr, BIAS: tl.constexpr, SHARED: tl.constexpr,
    PRECISION: tl.constexpr, WIDE: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_O: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """O: a program has BLOCK_P pixels and BLOCK_O channels of one group.

    SHARED (e = C1): a tap's sum is scaled when it is complete, so pixels may be of several samples.
    Otherwise the weight tile is scaled as it is loaded, and the pixels are of one sample.
    """
    group = tl.program_id(2)
    o = tl.program_id(1) * BLOCK_O + tl.arange(0, BLOCK_O)
    o_inside = o < o_count
    o_all = group * o_count + o
    pixels = HO * WO
    n, p, p_inside, sample = _pixels_of(tl.program_id(0), N, pixels, tl.cdiv(pixels, BLOCK_P), SHARED, BLOCK_P)
    y = p // WO
    x = p % WO
    depth = tl.cdiv(channels, BLOCK_C)
    total = tl.zeros([BLOCK_P, BLOCK_O], tl.float32)
    tap = tl.zeros([BLOCK_P, BLOCK_O], tl.float32)
    for step in range(TAPS * depth):
        k = step // depth
        row = y * stride_h - pad_h + (k // KW) * dil_h
        column = x * stride_w - pad_w + (k % KW) * dil_w
        seen = p_inside & (row >= 0) & (row < H) & (column >= 0) & (column < W)
        c = step % depth * BLOCK_C + tl.arange(0, BLOCK_C)
        c_inside = c < channels
        source = ((n * H + row) * W + column)[:, None] * C1 + (group * channels + c)[None, :]
        image = tl.load(I + source, mask=seen[:, None] & c_inside[None, :], other=0.0)
        inside = c_inside[:, None] & o_inside[None, :]
        kernel = tl.load(K + (o_all[None, :] * TAPS + k) * channels + c[:, None], mask=inside, other=0.0)
        if SHARED:
            tap = _dot(image, kernel, tap, PRECISION, WIDE)
            if step % depth == depth - 1:
                a_place = (n[:, None] * TAPS + k) * C2 + o_all[None, :]
                total += tap * _factor(A + a_place, p_inside[:, None] & o_inside[None, :], RESIDUAL)
                tap = tl.zeros([BLOCK_P, BLOCK_O], tl.float32)
        else:
            a_place = ((sample * TAPS + k) * C2 + o_all[None, :]) * (channels // e) + (c // e)[:, None]
            factor = _factor(A + a_place, inside, RESIDUAL)
            total = _dot(image, (kernel.to(tl.float32) * factor).to(image.dtype), total, PRECISION, WIDE)
    if BIAS:
        total += tl.load(B + o_all, mask=o_inside, other=0.0).to(tl.float32)[None, :]
    target = (n * pixels + p)[:, None] * C2 + o_all[None, :]
    tl.store(O + target, total.to(O.dtype.element_ty), mask=p_inside[:, None] & o_inside[None, :])


@triton.jit
def _input_gradient(
    D, K, A, G,
    N, H, W, HO, WO, C1, C2, channels, o_count, e,
    stride_h, stride_w, pad_h, pad_w, dil_h, dil_w, period_h, period_w,
    KH: tl.constexpr, KW: tl.constexpr, RESIDUAL: tl.constexpr, SHARED: tl.constexpr, TWO: tl.constexpr,
    PRECISION: tl.constexpr, WIDE: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_O: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """G, the gradient of the input, from D, that of the output.

    Input pixels a stride apart see the same taps, so a program has pixels of one phase, and goes over those taps alone.
    SHARED: D's tile is scaled; otherwise the weight tile is, and the pixels are of one sample. TWO: the tile's are of
    two samples at most, so two rows of factors are loaded, not one of each pixel: a third less comes through L2.
    """
    c_tiles = tl.cdiv(channels, BLOCK_C)
    c = (tl.program_id(1) % c_tiles) * BLOCK_C + tl.arange(0, BLOCK_C)
    c_inside = c < channels
    group = tl.program_id(1) // c_tiles
    phase_y = tl.program_id(2) // stride_w
    phase_x = tl.program_id(2) % stride_w
    rows = tl.cdiv(H - phase_y, stride_h)
    columns = tl.cdiv(W - phase_x, stride_w)
    pixels = rows * columns
    width = tl.maximum(columns, 1)
    tiles = tl.cdiv(tl.cdiv(H, stride_h) * tl.cdiv(W, stride_w), BLOCK_P)  # of the largest phase
    n, p, p_inside, sample = _pixels_of(tl.program_id(0), N, pixels, tiles, SHARED, BLOCK_P)
    y = p // width
    x = p % width
    first_h, count_h = _seen_taps(phase_y + pad_h, stride_h, dil_h, period_h, KH)
    first_w, count_w = _seen_taps(phase_x + pad_w, stride_w, dil_w, period_w, KW)
    depth = tl.cdiv(o_count, BLOCK_O)
    total = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    for step in range(count_h * count_w * depth):
        k_row = first_h + step // depth // tl.maximum(count_w, 1) * period_h
        k_column = first_w + step // depth % tl.maximum(count_w, 1) * period_w
        k = k_row * KW + k_column
        # Where this tap's output lies, in strides; the added multiple of the stride keeps division of positive numbers.
        row = y + (phase_y + pad_h - k_row * dil_h + stride_h * dil_h * KH) // stride_h - dil_h * KH
        column = x + (phase_x + pad_w - k_column * dil_w + stride_w * dil_w * KW) // stride_w - dil_w * KW
        seen = p_inside & (row >= 0) & (row < HO) & (column >= 0) & (column < WO)
        o = step % depth * BLOCK_O + tl.arange(0, BLOCK_O)
        o_inside = o < o_count
        o_all = group * o_count + o
        inside = seen[:, None] & o_inside[None, :]
        source = ((n * HO + row) * WO + column)[:, None] * C2 + o_all[None, :]
        gradient = tl.load(D + source, mask=inside, other=0.0)
        both = o_inside[:, None] & c_inside[None, :]
        kernel = tl.load(K + (o_all[:, None] * (KH * KW) + k) * channels + c[None, :], mask=both, other=0.0)
        if SHARED:
            if TWO:
                first = A + (sample * (KH * KW) + k) * C2 + o_all
                second = _factor(first + KH * KW * C2, o_inside & (sample + 1 < N), RESIDUAL)
                first = _factor(first, o_inside, RESIDUAL)
                factor = tl.where((n == sample)[:, None], first[None, :], second[None, :])
            else:
                factor = _factor(A + (n[:, None] * (KH * KW) + k) * C2 + o_all[None, :], inside, RESIDUAL)
            gradient = (gradient.to(tl.float32) * factor).to(kernel.dtype)
        else:
            a_place = ((sample * (KH * KW) + k) * C2 + o_all[:, None]) * (channels // e) + (c // e)[None, :]
            kernel = (kernel.to(tl.float32) * _factor(A + a_place, both, RESIDUAL)).to(gradient.dtype)
        total = _dot(gradient, kernel, total, PRECISION, WIDE)
    at = (n * H + y * stride_h + phase_y) * W + x * stride_w + phase_x
    target = at[:, None] * C1 + (group * channels + c)[None, :]
    tl.store(G + target, total.to(G.dtype.element_ty), mask=p_inside[:, None] & c_inside[None, :])


@triton.jit
def _kernel_gradients(
    D, I, K, A, dK, dA,
    N, H, W, HO, WO, C1, C2, channels, o_count, e, span, tiles_of_m, samples,
    stride_h, stride_w, pad_h, pad_w, dil_h, dil_w,
    KW: tl.constexpr, TAPS: tl.constexpr, RESIDUAL: tl.constexpr, SINGLE_M: tl.constexpr, E: tl.constexpr,
    PRECISION: tl.constexpr, WIDE: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_O: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """dK and dA of some samples: a program has one tap, BLOCK_O x (up to BLOCK_C) kernel values, and goes over them.

    The gradient of AK of a sample stays in registers. A tile of c holds whole m's, or (SINGLE_M) a part of one;
    no two programs write to one place: parts of dK lie apart by sample chunk, of dA by tile of c.
    """
    k = tl.program_id(0) % TAPS  # those of one place run side by side: they read the same, and write neighbours
    o_tile = tl.program_id(0) // TAPS
    o = (o_tile % tl.cdiv(o_count, BLOCK_O)) * BLOCK_O + tl.arange(0, BLOCK_O)
    chunk = o_tile // tl.cdiv(o_count, BLOCK_O)
    group = tl.program_id(2)
    tile = tl.program_id(1)
    within = tl.arange(0, BLOCK_C)
    if SINGLE_M:  # tiles_of_m tiles share one m
        first_m = tile // tiles_of_m
        c = first_m * e + (tile % tiles_of_m) * BLOCK_C + within
        c_inside = c < (first_m + 1) * e
        part = tile % tiles_of_m
    else:
        first_m = tile * (span // e)
        c = tile * span + within
        c_inside = (within < span) & (c < channels)
        part = 0
    o_inside = o < o_count
    o_all = group * o_count + o
    inside = o_inside[:, None] & c_inside[None, :]
    place = (o_all[:, None] * TAPS + k) * channels + c[None, :]
    kernel = tl.load(K + place, mask=inside, other=0.0).to(tl.float32)
    pixels = HO * WO
    depth = tl.cdiv(pixels, BLOCK_P)
    first = chunk * samples
    total = tl.zeros([BLOCK_O, BLOCK_C], tl.float32)
    gradient = tl.zeros([BLOCK_O, BLOCK_C], tl.float32)  # of AK, of one sample
    for step in range((tl.minimum(first + samples, N) - first) * depth):
        sample = tl.cast(first + step // depth, tl.int64)
        p = step % depth * BLOCK_P + tl.arange(0, BLOCK_P)
        p_inside = p < pixels
        y = p // WO
        x = p % WO
        row = y * stride_h - pad_h + (k // KW) * dil_h
        column = x * stride_w - pad_w + (k % KW) * dil_w
        seen = p_inside & (row >= 0) & (row < H) & (column >= 0) & (column < W)
        source = (sample * pixels + p)[None, :] * C2 + o_all[:, None]
        output = tl.load(D + source, mask=o_inside[:, None] & p_inside[None, :], other=0.0)
        source = ((sample * H + row) * W + column)[:, None] * C1 + (group * channels + c)[None, :]
        image = tl.load(I + source, mask=seen[:, None] & c_inside[None, :], other=0.0)
        gradient = _dot(output, image, gradient, PRECISION, WIDE)
        if step % depth == depth - 1:
            row_of_map = ((sample * TAPS + k) * C2 + o_all) * (channels // e)
            total += gradient * _factor(A + row_of_map[:, None] + (c // e)[None, :], inside, RESIDUAL)
            by_channel = gradient * kernel
            target = dA + part * (tl.cast(N, tl.int64) * TAPS * C2 * (channels // e)) + row_of_map
            if SINGLE_M:
                tl.store(target + first_m, tl.sum(by_channel, axis=1).to(dA.dtype.element_ty), mask=o_inside)
            else:
                if E:
                    m = tl.arange(0, BLOCK_C // E)
                    by_m = tl.sum(tl.reshape(by_channel, [BLOCK_O, BLOCK_C // E, E]), axis=2)
                else:  # an e that is no power of two: a product with ones and zeros
                    m = tl.arange(0, BLOCK_C)
                    belongs = tl.where((within[:, None] // e == m[None, :]) & c_inside[:, None], 1.0, 0.0)
                    by_m = tl.dot(by_channel, belongs, input_precision="ieee")
                m_inside = (m < span // e) & ((first_m + m) * e < channels)
                both = o_inside[:, None] & m_inside[None, :]
                tl.store(target[:, None] + (first_m + m)[None, :], by_m.to(dA.dtype.element_ty), mask=both)
            gradient = tl.zeros([BLOCK_O, BLOCK_C], tl.float32)
    target = chunk * tl.cast(C2 * TAPS * channels, tl.int64) + place
    tl.store(dK + target, total.to(dK.dtype.element_ty), mask=inside)


convolve, input_gradient, kernel_gradients = _convolve, _input_gradient, _kernel_gradients
