"""What the machine can do: the precision that is fast on it, and whether it has a GPU to look for."""

from __future__ import annotations

import os

import torch

from fmlab.fields import choose_precision

_THROUGH_NVML = "PYTORCH_NVML_BASED_CUDA_CHECK"


def fastest_precision(accelerator: str) -> str:
    """Lightning's word for the precision that is fastest on an accelerator: `bf16-mixed` or `32-true`.

    Args:
        accelerator: Lightning's word: auto, cpu, gpu, cuda, mps, ...
    """
    kind = "cpu"
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        kind = "cuda"
    elif accelerator != "cpu" and torch.backends.mps.is_available():
        kind = "mps"
    precision = choose_precision(kind)
    return "32-true" if precision == "float32" else precision


def look_for_gpus_once() -> None:
    """Where there is no NVIDIA GPU, looking for one becomes cheap.

    An optimizer looks at every step. Lightning has torch look through NVML, so that looking does not spoil a fork;
    where NVML is not installed each look searches for its library anew, 0.4 ms within a training step.
    """
    if not torch.cuda.is_available():
        os.environ[_THROUGH_NVML] = "0"
