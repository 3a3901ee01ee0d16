"""Every kernel by Triton's interpreter; its compiler, which allows less, takes each for a card that is not here."""

from pathlib import Path

import pytest

from interpreted import needs_triton, run_interpreted

SIZES = dict.fromkeys(("S", "C", "V", "K", "stride_s", "stride_c", "weight_stride", "chunks", "per_chunk"), "i32")
SUMS = dict.fromkeys(
    ("partial", "stats", "weight", "bias", "means", "dweight", "dbias", "out", "dsums", "table"), "*fp32"
)
HALVES = dict.fromkeys(("x", "y", "dx", "dy", "logits", "dlogits"), "*fp16")
TYPES = {**SIZES, **SUMS, **HALVES, "label": "*i16", "counts": "*i32", "stride_k": "i32", "eps": "fp32"}
TILE = {"BS": 128, "BC": 32, "stride_c": 1}
KERNELS = {
    "chunk_moments": {**TILE, "steps": 3},
    "finish_moments": {"CHUNKS": 256, "BC": 16},
    "apply_norm": {**TILE, "slope": 0.01},
    "chunk_gradients": {**TILE, "slope": 0.01, "steps": 3},
    "finish_gradients": {"B": 2, "per_sample": True, "CHUNKS": 1, "BC": 16},
    "apply_gradient": {**TILE, "slope": 1.0},
    "chunk_sums": {"BS": 64, "KP": 4, "steps": 3, "REGIONS": False},
    "gradient": {"BS": 64, "KP": 4, "REGIONS": True, "stride_s": 1},
}


@needs_triton
def test_they_compute_what_torch_does():
    """In one process, whose imports take longer than the cases."""
    run_interpreted(*sorted(Path(__file__).parent.rglob("*_cases.py")))


@needs_triton
@pytest.mark.parametrize("name", KERNELS)
def test_it_compiles_for_hopper(name, monkeypatch):
    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # the default, of which Triton 3.9 warns
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    from triton.compiler import compile as compile_kernel

    from uniseg.losses import class_sums_kernels
    from uniseg.models import fused_norm_kernels

    kernel = getattr(fused_norm_kernels, name, None) or getattr(class_sums_kernels, name)
    known = KERNELS[name]
    signature = {arg: "constexpr" if arg in known else TYPES[arg] for arg in kernel.arg_names}
    constants = {(kernel.arg_names.index(arg),): value for arg, value in known.items()}
    compiled = compile_kernel(
        ASTSource(kernel, signature=signature, constexprs=constants), target=GPUTarget("cuda", 90, 32)
    )
    assert "st.global" in compiled.asm["ptx"]
