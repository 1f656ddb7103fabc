"""What the machine can do: the precision that is fast on it, and whether it has a GPU to look for."""

from __future__ import annotations

import os
import time
from pathlib import Path

import torch

from fmlab.records import trial_folder

_THROUGH_NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"


def choose_precision(accelerator: str) -> str:
    """Lightning's word for the best precision: `bf16-mixed` where the processor computes it natively and faster.

    GPUs that have bfloat16 are faster in it. Of processors, those with AMX are; of those with AVX512-BF16 alone some
    multiply at half the speed of float32, so there two products are timed, for a tenth of a second. Processes that were
    started at once and the trials of a sweep must agree, whatever else the machine does: they are not timed.

    Args:
        accelerator: Lightning's word: auto, cpu, gpu, cuda, mps, ...
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    if accelerator != "cpu" and torch.backends.mps.is_available():
        return "32-true"
    flags = _processor_flags()
    if "amx_bf16" in flags:
        return "bf16-mixed"
    alone = int(os.environ.get("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))) == 1 and trial_folder() is None
    return "bf16-mixed" if "avx512_bf16" in flags and alone and bf16_is_faster() else "32-true"


def look_for_gpus_once() -> None:
    """Where there is no NVIDIA GPU, looking for one becomes cheap.

    An optimizer looks at every step. Lightning has torch look through NVML, so that looking does not spoil a fork;
    where NVML is not installed each look searches for its library anew, 0.4 ms within a training step.
    """
    if not torch.cuda.is_available():
        os.environ[_THROUGH_NVML] = "0"


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
