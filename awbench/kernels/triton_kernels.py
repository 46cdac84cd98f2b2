"""The Triton kernels of the fused strategy. Imported only where they run: Triton is no part of a CPU's life.

Letters: n sample, p output (or input) pixels, o output channels of a group, c input channels of a group, k tap,
m values of the map along c, e channels that share one. Every tensor comes with its strides; a channels_last one
differs from a contiguous one in nothing else. Sums are in float32.
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
    """(sample, pixel, whether there is one) of each row of a program's tile; and its sample, where it has only one.

    SHARED: rows go over the pixels of all samples; otherwise each sample has `tiles` tiles of its own.
    """
    if SHARED:
        p = program * BLOCK_P + tl.arange(0, BLOCK_P)
        inside = p < N * pixels
        n = p // tl.maximum(pixels, 1)
        p = p % tl.maximum(pixels, 1)
        sample = 0
    else:
        sample = program // tiles
        p = (program % tiles) * BLOCK_P + tl.arange(0, BLOCK_P)
        inside = p < pixels
        n = sample + tl.zeros([BLOCK_P], tl.int32)
    return n.to(tl.int64), p, inside, tl.cast(sample, tl.int64)


@triton.jit
def _convolve(
    I, K, A, B, O,
    N, H, W, HO, WO, channels, o_count, e,
    in_n, in_c, in_h, in_w, k_o, k_c, k_h, k_w, a_n, a_o, a_m, a_k, out_n, out_c, out_h, out_w,
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
    total = tl.zeros([BLOCK_P, BLOCK_O], tl.float32)
    for k in range(TAPS):
        row = y * stride_h - pad_h + (k // KW) * dil_h
        column = x * stride_w - pad_w + (k % KW) * dil_w
        seen = p_inside & (row >= 0) & (row < H) & (column >= 0) & (column < W)
        source = n * in_n + row * in_h + column * in_w
        tap = tl.zeros([BLOCK_P, BLOCK_O], tl.float32)
        for start in range(0, channels, BLOCK_C):
            c = start + tl.arange(0, BLOCK_C)
            c_inside = c < channels
            image = tl.load(
                I + source[:, None] + (group * channels + c)[None, :] * in_c,
                mask=seen[:, None] & c_inside[None, :],
                other=0.0,
            )
            inside = c_inside[:, None] & o_inside[None, :]
            place = o_all[None, :] * k_o + c[:, None] * k_c + (k // KW) * k_h + (k % KW) * k_w
            kernel = tl.load(K + place, mask=inside, other=0.0)
            if not SHARED:
                a_place = sample * a_n + o_all[None, :] * a_o + (c // e)[:, None] * a_m + k * a_k
                factor = _factor(A + a_place, inside, RESIDUAL)
                kernel = (kernel.to(tl.float32) * factor).to(image.dtype)
            tap = _dot(image, kernel, tap, PRECISION, WIDE)
        if SHARED:
            a_place = n[:, None] * a_n + o_all[None, :] * a_o + k * a_k
            factor = _factor(A + a_place, p_inside[:, None] & o_inside[None, :], RESIDUAL)
            tap = tap * factor
        total += tap
    if BIAS:
        total += tl.load(B + o_all, mask=o_inside, other=0.0).to(tl.float32)[None, :]
    target = n[:, None] * out_n + o_all[None, :] * out_c + (y * out_h + x * out_w)[:, None]
    tl.store(O + target, total.to(O.dtype.element_ty), mask=p_inside[:, None] & o_inside[None, :])


@triton.jit
def _input_gradient(
    D, K, A, G,
    N, H, W, HO, WO, channels, o_count, e,
    d_n, d_c, d_h, d_w, k_o, k_c, k_h, k_w, a_n, a_o, a_m, a_k, g_n, g_c, g_h, g_w,
    stride_h, stride_w, pad_h, pad_w, dil_h, dil_w,
    KH: tl.constexpr, KW: tl.constexpr, TAPS: tl.constexpr, RESIDUAL: tl.constexpr, SHARED: tl.constexpr,
    PRECISION: tl.constexpr, WIDE: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_O: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """G, the gradient of the input, from D, that of the output.

    Input pixels a stride apart see the same taps, so a program has pixels of one phase, and skips the other taps.
    SHARED: D's tile is scaled; otherwise the weight tile is, and the pixels are of one sample.
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
    total = tl.zeros([BLOCK_P, BLOCK_C], tl.float32)
    for k in range(TAPS):
        # Where this tap's output lies, in strides; the added multiple of the stride keeps division of positive numbers.
        down = phase_y + pad_h - (k // KW) * dil_h + stride_h * dil_h * KH
        right = phase_x + pad_w - (k % KW) * dil_w + stride_w * dil_w * KW
        if (down % stride_h == 0) & (right % stride_w == 0):
            row = y + down // stride_h - dil_h * KH
            column = x + right // stride_w - dil_w * KW
            seen = p_inside & (row >= 0) & (row < HO) & (column >= 0) & (column < WO)
            source = n * d_n + row * d_h + column * d_w
            for start in range(0, o_count, BLOCK_O):
                o = start + tl.arange(0, BLOCK_O)
                o_inside = o < o_count
                o_all = group * o_count + o
                inside = seen[:, None] & o_inside[None, :]
                gradient = tl.load(D + source[:, None] + o_all[None, :] * d_c, mask=inside, other=0.0)
                both = o_inside[:, None] & c_inside[None, :]
                place = o_all[:, None] * k_o + c[None, :] * k_c + (k // KW) * k_h + (k % KW) * k_w
                kernel = tl.load(K + place, mask=both, other=0.0)
                if SHARED:
                    a_place = n[:, None] * a_n + o_all[None, :] * a_o + k * a_k
                    factor = _factor(A + a_place, inside, RESIDUAL)
                    gradient = (gradient.to(tl.float32) * factor).to(kernel.dtype)
                else:
                    a_place = sample * a_n + o_all[:, None] * a_o + (c // e)[None, :] * a_m + k * a_k
                    factor = _factor(A + a_place, both, RESIDUAL)
                    kernel = (kernel.to(tl.float32) * factor).to(gradient.dtype)
                total = _dot(gradient, kernel, total, PRECISION, WIDE)
    at = (y * stride_h + phase_y) * g_h + (x * stride_w + phase_x) * g_w
    target = n[:, None] * g_n + at[:, None] + (group * channels + c)[None, :] * g_c
    tl.store(G + target, total.to(G.dtype.element_ty), mask=p_inside[:, None] & c_inside[None, :])


@triton.jit
def _kernel_gradients(
    D, I, K, A, dK, dA,
    N, H, W, HO, WO, channels, o_count, e, span, tiles_of_m, samples,
    d_n, d_c, d_h, d_w, in_n, in_c, in_h, in_w, k_o, k_c, k_h, k_w, a_n, a_o, a_m, a_k,
    dk_s, dk_o, dk_c, dk_k, da_t, da_n, da_o, da_m, da_k,
    stride_h, stride_w, pad_h, pad_w, dil_h, dil_w,
    KW: tl.constexpr, TAPS: tl.constexpr, RESIDUAL: tl.constexpr, SINGLE_M: tl.constexpr,
    PRECISION: tl.constexpr, WIDE: tl.constexpr, BLOCK_P: tl.constexpr, BLOCK_O: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """dK and dA of some samples: a program has one tap, BLOCK_O x (up to BLOCK_C) kernel values, and goes over them.

    The gradient of AK of a sample stays in registers. A tile of c holds whole m's, or (SINGLE_M) a part of one;
    no two programs write to one place: parts of dK lie apart by sample chunk (dk_s), of dA by tile of c (da_t).
    """
    k = tl.program_id(2) % TAPS
    group = tl.program_id(2) // TAPS
    o = (tl.program_id(0) % tl.cdiv(o_count, BLOCK_O)) * BLOCK_O + tl.arange(0, BLOCK_O)
    chunk = tl.program_id(0) // tl.cdiv(o_count, BLOCK_O)
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
    place = o_all[:, None] * k_o + c[None, :] * k_c + (k // KW) * k_h + (k % KW) * k_w
    kernel = tl.load(K + place, mask=inside, other=0.0).to(tl.float32)
    pixels = HO * WO
    total = tl.zeros([BLOCK_O, BLOCK_C], tl.float32)
    for n in range(chunk * samples, tl.minimum((chunk + 1) * samples, N)):
        sample = tl.cast(n, tl.int64)
        gradient = tl.zeros([BLOCK_O, BLOCK_C], tl.float32)  # of AK
        for start in range(0, pixels, BLOCK_P):
            p = start + tl.arange(0, BLOCK_P)
            p_inside = p < pixels
            y = p // WO
            x = p % WO
            row = y * stride_h - pad_h + (k // KW) * dil_h
            column = x * stride_w - pad_w + (k % KW) * dil_w
            seen = p_inside & (row >= 0) & (row < H) & (column >= 0) & (column < W)
            output = tl.load(
                D + sample * d_n + o_all[:, None] * d_c + (y * d_h + x * d_w)[None, :],
                mask=o_inside[:, None] & p_inside[None, :],
                other=0.0,
            )
            image = tl.load(
                I + sample * in_n + (row * in_h + column * in_w)[:, None] + (group * channels + c)[None, :] * in_c,
                mask=seen[:, None] & c_inside[None, :],
                other=0.0,
            )
            gradient = _dot(output, image, gradient, PRECISION, WIDE)
        a_place = sample * a_n + o_all[:, None] * a_o + (c // e)[None, :] * a_m + k * a_k
        factor = _factor(A + a_place, inside, RESIDUAL)
        total += gradient * factor
        by_channel = gradient * kernel
        target = part * da_t + sample * da_n + o_all * da_o + k * da_k
        if SINGLE_M:
            tl.store(dA + target + first_m * da_m, tl.sum(by_channel, axis=1), mask=o_inside)
        else:  # summed over the e channels of each m by a product with ones and zeros
            m = tl.arange(0, BLOCK_C)
            belongs = tl.where((within[:, None] // e == m[None, :]) & c_inside[:, None], 1.0, 0.0)
            by_m = tl.dot(by_channel, belongs, input_precision="ieee")
            m_inside = (m < span // e) & ((first_m + m) * e < channels)
            tl.store(
                dA + target[:, None] + (first_m + m)[None, :] * da_m, by_m, mask=o_inside[:, None] & m_inside[None, :]
            )
    target = chunk * dk_s + o_all[:, None] * dk_o + c[None, :] * dk_c + k * dk_k
    tl.store(dK + target, total, mask=inside)


convolve, input_gradient, kernel_gradients = _convolve, _input_gradient, _kernel_gradients
