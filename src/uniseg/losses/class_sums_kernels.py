"""Triton kernels behind ``class_sums.py``; imported where they are used, since Triton is not installed everywhere.

A program reads tiles of BS voxels by KP classes, KP the power of 2 above the K of the tensor; of a sample only its own
``counts[b]`` classes are looked at. ``table [B,V,KP]`` says for regions which label values they hold.
"""

import triton
import triton.language as tl


@triton.jit
def _probabilities(
    logits, label, table, at, local, b, s, S, count, V, K, REGIONS: tl.constexpr, KP: tl.constexpr
):  # fmt: skip
    """Probabilities and truth ``[BS,KP]``, the cross-entropy ``[BS]``, which classes and voxels count."""
    k = tl.arange(0, KP)
    value = tl.load(label + b.to(tl.int64) * S + s, mask=s < S, other=-1).to(tl.int32)
    valid = (value >= 0) & (s < S)
    own = (k < count)[None, :] & (s < S)[:, None]
    if REGIONS:
        own = own & (k > 0)[None, :]
        x = tl.load(logits + at + local, mask=own, other=0.0).to(tl.float32)
        known = own & (valid & (value < V))[:, None]
        t = tl.load(table + (b * V + value)[:, None] * KP + k[None, :], mask=known, other=0.0)
        p = 1 / (1 + tl.exp(-x))
        # log(1 + exp(x)) without overflow; NaN and infinity stay
        ce = tl.maximum(x, 0.0) - x * t + tl.log(1 + tl.exp(-tl.abs(x))) + (x - x)
        ce = tl.sum(tl.where(own, ce, 0.0), 1) / (count - 1)
    else:
        x = tl.load(logits + at + local, mask=own, other=-float("inf")).to(tl.float32)
        x = tl.where((s < S)[:, None], x, 0.0)
        t = tl.where(k[None, :] == value[:, None], 1.0, 0.0)
        high = tl.max(x, 1)
        e = tl.exp(x - high[:, None])
        total = tl.sum(e, 1)
        p = e / total[:, None]
        own_logit = tl.sum(tl.where(t > 0, x, 0.0), 1)
        ce = tl.where(value < count, high + tl.log(total) - own_logit, float("inf"))
    return p, t, ce, own & valid[:, None], valid


@triton.jit(do_not_specialize=["chunks", "steps"])
def chunk_sums(
    logits, label, table, counts, out, S, V, K, stride_s, stride_k, chunks, steps,
    REGIONS: tl.constexpr, BS: tl.constexpr, KP: tl.constexpr,
):  # fmt: skip
    """``out [B,chunks,4,KP]``: overlap, probabilities, truth; in the last row the cross-entropy and the voxels."""
    chunk, b = tl.program_id(0), tl.program_id(1)
    count = tl.load(counts + b)
    k = tl.arange(0, KP)
    local = tl.arange(0, BS)[:, None] * stride_s + k[None, :].to(tl.int64) * stride_k
    overlap = tl.zeros((BS, KP), tl.float32)
    predicted = tl.zeros((BS, KP), tl.float32)
    truth = tl.zeros((BS, KP), tl.float32)
    entropy = tl.zeros((BS,), tl.float32)
    voxels = tl.zeros((BS,), tl.float32)
    i = 0
    while i < steps:  # no range, which Triton's interpreter cannot take from an argument
        first = (chunk * steps + i) * BS
        at = b.to(tl.int64) * S * K + first.to(tl.int64) * stride_s
        s = first + tl.arange(0, BS)
        p, t, ce, own, valid = _probabilities(logits, label, table, at, local, b, s, S, count, V, K, REGIONS, KP)
        p = tl.where(own, p, 0.0)
        t = tl.where(own, t, 0.0)
        overlap += p * t
        predicted += p
        truth += t
        entropy += tl.where(valid, ce, 0.0)
        voxels += tl.where(valid, 1.0, 0.0)
        i += 1
    at_out = out + ((b * chunks + chunk) * 4) * KP + k
    tl.store(at_out, tl.sum(overlap, 0))
    tl.store(at_out + KP, tl.sum(predicted, 0))
    tl.store(at_out + 2 * KP, tl.sum(truth, 0))
    last = tl.where(k == 0, tl.sum(entropy, 0), tl.where(k == 1, tl.sum(voxels, 0), 0.0))
    tl.store(at_out + 3 * KP, last)


@triton.jit
def gradient(
    logits, label, table, counts, dsums, dlogits, S, V, K, stride_s, stride_k, REGIONS: tl.constexpr,
    BS: tl.constexpr, KP: tl.constexpr,
):  # fmt: skip
    """Of the logits, from those of the sums ``dsums [B,4,KP]``; 0 for classes and voxels that do not count."""
    first, b = tl.program_id(0) * BS, tl.program_id(1)
    count = tl.load(counts + b)
    k = tl.arange(0, KP)
    s = first + tl.arange(0, BS)
    at = b.to(tl.int64) * S * K + first.to(tl.int64) * stride_s
    local = tl.arange(0, BS)[:, None] * stride_s + k[None, :].to(tl.int64) * stride_k
    p, t, _, own, _ = _probabilities(logits, label, table, at, local, b, s, S, count, V, K, REGIONS, KP)
    d_overlap = tl.load(dsums + 4 * b * KP + k)
    d_predicted = tl.load(dsums + (4 * b + 1) * KP + k)
    d_entropy = tl.load(dsums + (4 * b + 3) * KP)
    dp = d_overlap[None, :] * t + d_predicted[None, :]
    if REGIONS:
        dx = dp * p * (1 - p) + d_entropy / (count - 1) * (p - t)
    else:
        mean = tl.sum(tl.where(own, p * dp, 0.0), 1)
        dx = p * (dp - mean[:, None]) + d_entropy * (p - t)
    inside = (s < S)[:, None] & (k < K)[None, :]
    tl.store(dlogits + at + local, tl.where(own, dx, 0.0).to(dlogits.dtype.element_ty), mask=inside)
