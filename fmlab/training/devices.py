"""The precision that is fast on this machine, as Lightning names it."""

from __future__ import annotations

import torch

from fmlab.fields import choose_precision


def fastest_precision(accelerator: str) -> str:
    """Lightning's name of the precision that is fastest on an accelerator: `bf16-mixed` or `32-true`.

    Args:
        accelerator: Lightning's name of it: auto, cpu, gpu, cuda, mps, ...
    """
    kind = "cpu"
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        kind = "cuda"
    elif accelerator != "cpu" and torch.backends.mps.is_available():
        kind = "mps"
    precision = choose_precision(kind)
    return "32-true" if precision == "float32" else precision
