"""Triton kernels of the fused norm; imported where they are used, since Triton is not installed everywhere.

A tensor ``[B,C,...]`` of S voxels per sample is read in tiles of BS voxels by BC channels; ``stride_s`` and
``stride_c`` are C and 1 for channels last, 1 and S for channels first (BC is 1 then, so that offsets within a tile stay
small; those of tiles are 64 bits wide). Sums are taken per chunk of ``steps`` tiles, then over the chunks of a sample
by a ``finish_...`` kernel: the same numbers in every run.
"""

import triton
import triton.language as tl


@triton.jit
def _start(b, first, c_block, S, C, stride_s, stride_c, BC: tl.constexpr):
    """Offset of the tile that begins at the voxel ``first``."""
    wide = b.to(tl.int64) * C * S
    return wide + first.to(tl.int64) * stride_s + (c_block * BC).to(tl.int64) * stride_c


@triton.jit
def _normed(x, stats, weight, bias, b, c, C, weight_stride):
    """(x - mean) / sd, before and after weight and bias; 1 / sd * weight."""
    inside = c < C
    mean = tl.load(stats + 2 * b * C + c, mask=inside, other=0.0)
    rstd = tl.load(stats + (2 * b + 1) * C + c, mask=inside, other=0.0)
    w = tl.load(weight + b * weight_stride + c, mask=inside, other=0.0).to(tl.float32)
    d = tl.load(bias + b * weight_stride + c, mask=inside, other=0.0).to(tl.float32)
    normed = (x - mean[None, :]) * rstd[None, :]
    return normed, normed * w[None, :] + d[None, :], w * rstd


@triton.jit(do_not_specialize=["chunks", "steps"])
def chunk_moments(x, partial, S, C, stride_s, stride_c, chunks, steps, BS: tl.constexpr, BC: tl.constexpr):
    """Mean and sum of squared deviations of every chunk -> ``partial [B,2,chunks,C]``.

    Sums are of deviations from the mean of the chunk's first tile, so that a large mean costs no digits.
    """
    chunk, c_block, b = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    s, lane = tl.arange(0, BS), tl.arange(0, BC)
    c = c_block * BC + lane
    first = chunk * steps * BS
    at = x + _start(b, first, c_block, S, C, stride_s, stride_c, BC)
    local = s[:, None] * stride_s + lane[None, :] * stride_c
    mask = ((first + s) < S)[:, None] & (c < C)[None, :]
    tile = tl.load(at + local, mask=mask, other=0.0).to(tl.float32)
    shift = tl.sum(tile, 0) / tl.minimum(S - first, BS)
    total = tl.zeros((BS, BC), tl.float32)
    squares = tl.zeros((BS, BC), tl.float32)
    i = 0
    while i < steps:  # no range, which Triton's interpreter cannot take from an argument
        mask = ((first + i * BS + s) < S)[:, None] & (c < C)[None, :]
        tile = tl.load(at + local, mask=mask, other=0.0).to(tl.float32)
        away = tl.where(mask, tile - shift[None, :], 0.0)
        total += away
        squares += away * away
        at += BS * stride_s
        i += 1
    count = tl.minimum(S - first, steps * BS).to(tl.float32)
    away = tl.sum(total, 0)
    out = partial + (2 * b * chunks + chunk) * C + c
    tl.store(out, shift + away / count, mask=c < C)
    tl.store(out + chunks * C, tl.sum(squares, 0) - away * away / count, mask=c < C)


@triton.jit(do_not_specialize=["chunks", "per_chunk"])
def finish_moments(partial, stats, S, C, per_chunk, chunks, eps, CHUNKS: tl.constexpr, BC: tl.constexpr):
    """Chan's formula over the chunks -> ``stats [B,2,C]``: mean, 1 / sd."""
    c, b = tl.program_id(0) * BC + tl.arange(0, BC), tl.program_id(1)
    chunk = tl.arange(0, CHUNKS)
    mask = (chunk < chunks)[:, None] & (c < C)[None, :]
    at = partial + (2 * b * chunks + chunk)[:, None] * C + c[None, :]
    means = tl.load(at, mask=mask, other=0.0)
    squares = tl.load(at + chunks * C, mask=mask, other=0.0)
    counts = tl.where(chunk < chunks, tl.minimum(S - chunk * per_chunk, per_chunk), 0).to(tl.float32)[:, None]
    anchor = tl.load(partial + 2 * b * chunks * C + c, mask=c < C, other=0.0)
    mean = anchor + tl.sum(counts * (means - anchor[None, :]), 0) / S
    away = means - mean[None, :]
    var = (tl.sum(squares, 0) + tl.sum(counts * away * away, 0)) / S
    tl.store(stats + 2 * b * C + c, mean, mask=c < C)
    tl.store(stats + (2 * b + 1) * C + c, 1 / tl.sqrt(var + eps), mask=c < C)


@triton.jit
def apply_norm(
    x, y, stats, weight, bias, S, C, stride_s, stride_c, weight_stride, slope: tl.constexpr, BS: tl.constexpr,
    BC: tl.constexpr,
):  # fmt: skip
    first, c_block, b = tl.program_id(0) * BS, tl.program_id(1), tl.program_id(2)
    s, lane = tl.arange(0, BS), tl.arange(0, BC)
    c = c_block * BC + lane
    mask = ((first + s) < S)[:, None] & (c < C)[None, :]
    at = _start(b, first, c_block, S, C, stride_s, stride_c, BC)
    local = s[:, None] * stride_s + lane[None, :] * stride_c
    tile = tl.load(x + at + local, mask=mask, other=0.0).to(tl.float32)
    _, z, _ = _normed(tile, stats, weight, bias, b, c, C, weight_stride)
    z = tl.where(z > 0, z, z * slope)
    tl.store(y + at + local, z.to(y.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["chunks", "steps"])
def chunk_gradients(
    x, dy, stats, weight, bias, partial, S, C, stride_s, stride_c, weight_stride, chunks, steps,
    slope: tl.constexpr, BS: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """Sums of the gradient before the activation, and of it times the normed input, -> ``partial [B,2,chunks,C]``."""
    chunk, c_block, b = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    s, lane = tl.arange(0, BS), tl.arange(0, BC)
    c = c_block * BC + lane
    first = chunk * steps * BS
    at = _start(b, first, c_block, S, C, stride_s, stride_c, BC)
    local = s[:, None] * stride_s + lane[None, :] * stride_c
    total = tl.zeros((BS, BC), tl.float32)
    product = tl.zeros((BS, BC), tl.float32)
    i = 0
    while i < steps:  # no range, which Triton's interpreter cannot take from an argument
        mask = ((first + i * BS + s) < S)[:, None] & (c < C)[None, :]
        tile = tl.load(x + at + local, mask=mask, other=0.0).to(tl.float32)
        g = tl.load(dy + at + local, mask=mask, other=0.0).to(tl.float32)
        normed, z, _ = _normed(tile, stats, weight, bias, b, c, C, weight_stride)
        g = tl.where(z > 0, g, g * slope)
        total += g
        product += g * normed
        at += BS * stride_s
        i += 1
    out = partial + (2 * b * chunks + chunk) * C + c
    tl.store(out, tl.sum(total, 0), mask=c < C)
    tl.store(out + chunks * C, tl.sum(product, 0), mask=c < C)


@triton.jit(do_not_specialize=["chunks"])
def finish_gradients(
    partial,
    means,
    dweight,
    dbias,
    S,
    C,
    chunks,
    B: tl.constexpr,
    per_sample: tl.constexpr,
    CHUNKS: tl.constexpr,
    BC: tl.constexpr,
):
    """-> ``means [B,2,C]`` over the voxels; gradients of weight and bias, ``[C]`` or per sample ``[B,C]``."""
    c = tl.program_id(0) * BC + tl.arange(0, BC)
    chunk = tl.arange(0, CHUNKS)
    mask = (chunk < chunks)[:, None] & (c < C)[None, :]
    total = tl.zeros((BC,), tl.float32)
    product = tl.zeros((BC,), tl.float32)
    for b in range(B):
        at = partial + (2 * b * chunks + chunk)[:, None] * C + c[None, :]
        g = tl.sum(tl.load(at, mask=mask, other=0.0), 0)
        gx = tl.sum(tl.load(at + chunks * C, mask=mask, other=0.0), 0)
        tl.store(means + 2 * b * C + c, g / S, mask=c < C)
        tl.store(means + (2 * b + 1) * C + c, gx / S, mask=c < C)
        if per_sample:
            tl.store(dbias + b * C + c, g, mask=c < C)
            tl.store(dweight + b * C + c, gx, mask=c < C)
        total += g
        product += gx
    if not per_sample:
        tl.store(dbias + c, total, mask=c < C)
        tl.store(dweight + c, product, mask=c < C)


@triton.jit
def apply_gradient(
    x, dy, dx, stats, weight, bias, means, S, C, stride_s, stride_c, weight_stride, slope: tl.constexpr,
    BS: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    first, c_block, b = tl.program_id(0) * BS, tl.program_id(1), tl.program_id(2)
    s, lane = tl.arange(0, BS), tl.arange(0, BC)
    c = c_block * BC + lane
    mask = ((first + s) < S)[:, None] & (c < C)[None, :]
    at = _start(b, first, c_block, S, C, stride_s, stride_c, BC)
    local = s[:, None] * stride_s + lane[None, :] * stride_c
    tile = tl.load(x + at + local, mask=mask, other=0.0).to(tl.float32)
    g = tl.load(dy + at + local, mask=mask, other=0.0).to(tl.float32)
    normed, z, scale = _normed(tile, stats, weight, bias, b, c, C, weight_stride)
    g = tl.where(z > 0, g, g * slope)
    mean_g = tl.load(means + 2 * b * C + c, mask=c < C, other=0.0)
    mean_gx = tl.load(means + (2 * b + 1) * C + c, mask=c < C, other=0.0)
    g = scale[None, :] * (g - mean_g[None, :] - normed * mean_gx[None, :])
    tl.store(dx + at + local, g.to(dx.dtype.element_ty), mask=mask)
