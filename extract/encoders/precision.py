"""The number types of a forward pass: which there are, where they pay, and what makes their results differ.

fp32   IEEE single precision, for matrix products and convolutions; also on CUDA, where torch's own default
       is TF32 for convolutions (an error of 1e-3 where 1e-5 is promised)
tf32   the same numbers, products of the tensor cores with 10 bits of mantissa; CUDA only
bf16   8 bits of mantissa
fp16   11 bits of mantissa, a small range; CUDA only
"""

from __future__ import annotations

import time
from functools import lru_cache

import torch

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Precision -> number type of the matrix products' operands."""
PRECISIONS = tuple(DTYPES)
HALF = ("bf16", "fp16")
CUDA_ONLY = ("tf32", "fp16")
NEEDS = {"fp32": (0, 0), "tf32": (8, 0), "bf16": (8, 0), "fp16": (7, 0)}
"""The first generation of NVIDIA's cards (compute capability) with tensor cores for a precision."""
WORTH = 1.2
"""bf16 is refused on a CPU where its matrix products are not at least so many times as fast as fp32's."""


def family(precision: str, device_type: str, *, stock: bool) -> str:
    """`EncoderSpec.arithmetic`: in fp32 all agree to 1e-5; below it each forward pass rounds elsewhere."""
    if precision == "fp32":
        return ""
    return " ".join([device_type] * (device_type != "cpu") + ["stock"] * stock)


def require_gain(precision: str, device: torch.device, *, forced: bool = False) -> None:
    """ValueError where a precision is not there on `device`, or (unless `forced`) is not faster than fp32."""
    if device.type != "cuda":
        if precision in CUDA_ONLY:
            raise ValueError(f"precision {precision} exists on CUDA only, and this is {device}; take fp32")
        if precision == "bf16" and not forced and (gain := bf16_gain()) < WORTH:
            raise ValueError(
                f"bf16 does not pay on this CPU: its matrix products run at {gain:.2f} times the speed of "
                "fp32 (AMX or Zen 4 has it at 2 to 4). Take fp32, or --force-precision"
            )
        return
    if (
        precision == "fp32"
        or torch.version.hip
        or torch.cuda.get_device_capability(device) >= NEEDS[precision]
    ):
        return
    if precision == "tf32" or not forced:
        raise ValueError(
            f"{torch.cuda.get_device_name(device)} has no tensor cores for {precision}; take fp32"
            + ("" if precision == "tf32" else ", or --force-precision")
        )


@lru_cache(maxsize=1)
def bf16_gain() -> float:
    """How many times as fast as in fp32 a matrix product of bf16 is on this CPU; takes some 20 ms."""
    best = dict.fromkeys((torch.float32, torch.bfloat16), float("inf"))
    operands = {
        dtype: (torch.ones(128, 768, dtype=dtype), torch.ones(768, 768, dtype=dtype)) for dtype in best
    }
    for a, b in operands.values():
        torch.mm(a, b)  # the first product of its type compiles a kernel
    ends, turns = time.perf_counter() + 0.02, 0
    while time.perf_counter() < ends or turns < 5:
        turns += 1
        for dtype, (a, b) in operands.items():  # in turns: other work on the machine hits both
            started = time.perf_counter()
            torch.mm(a, b)
            best[dtype] = min(best[dtype], time.perf_counter() - started)
    return best[torch.float32] / best[torch.bfloat16]
