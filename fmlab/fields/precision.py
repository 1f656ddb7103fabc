"""The precision of a network's arithmetic while it makes samples: what there is, and what is fastest on a device."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Literal, get_args

import torch

from fmlab.errors import UserError
from fmlab.records import trial_folder

Precision = Literal["auto", "float32", "bf16-mixed", "16-mixed"]
"""`float32` throughout, or the network's products in bfloat16 or float16; `auto` is what is fastest on the device."""

_LOW = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


def resolve_precision(precision: str, device: torch.device | str) -> str:
    """The precision by its own name: `auto` becomes what is fastest on the device. This name is what records hold.

    Raises:
        UserError: If there is no such precision.
    """
    if precision not in get_args(Precision):
        raise UserError(f"there is no precision {precision!r}", key="precision", hint=", ".join(get_args(Precision)))
    return choose_precision(torch.device(device).type) if precision == "auto" else precision


@contextmanager
def compute_in(precision: str, device: torch.device | str) -> Iterator[None]:
    """Within, networks on the device compute in this precision, whatever autocast surrounds it.

    In float32, convolutions on a GPU are those of float32 too, and the same kernels at every batch size.

    Args:
        precision: As `resolve_precision` gives it.
        device: Where the network is.
    """
    kind, low = torch.device(device).type, _LOW.get(precision)
    available = torch.amp.is_autocast_available(kind)
    with torch.autocast(kind, low, enabled=low is not None) if available else nullcontext():
        if low is not None:
            yield
            return
        on = torch.backends.cudnn.enabled
        with torch.backends.cudnn.flags(enabled=on, benchmark=False, deterministic=True, allow_tf32=False):
            yield


def choose_precision(kind: str) -> str:
    """The fastest precision of a kind of device: `bf16-mixed` where it is computed natively and faster, or `float32`.

    GPUs that have bfloat16 are faster in it. Of processors, those with AMX are; of those with AVX512-BF16 alone some
    multiply at half the speed of float32, so there two products are timed, for a tenth of a second. Processes that were
    started at once and the trials of a sweep must agree, whatever else the machine does: they are not timed.

    Args:
        kind: torch's name of the kind: cpu, cuda, mps, ...
    """
    if kind == "cuda":
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if kind != "cpu":
        return "float32"
    flags = _processor_flags()
    if "amx_bf16" in flags:
        return "bf16-mixed"
    alone = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) == 1 and trial_folder() is None
    return "bf16-mixed" if "avx512_bf16" in flags and alone and bf16_is_faster() else "float32"


def bf16_is_faster(size: int = 512, rounds: int = 5) -> bool:
    """Whether a product of two matrices takes less time in bfloat16 than in float32, best of alternating runs."""
    best = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for _ in range(rounds):
        for dtype in best:
            matrix = torch.ones(size, size, dtype=dtype)
            began = time.perf_counter()
            matrix @ matrix
            best[dtype] = min(best[dtype], time.perf_counter() - began)
    return best[torch.bfloat16] < best[torch.float32]


def _processor_flags() -> set[str]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return set(next((line for line in lines if line.startswith("flags")), "").split())
