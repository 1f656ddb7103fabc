"""What is known of the machine's devices before training."""

from __future__ import annotations

import os

import pytest
import torch

from fmlab.training import assemble
from fmlab.training.overhead import cache_gpu_probe


@pytest.mark.parametrize(("has_gpu", "expected"), [(False, "0"), (True, "1")])
def test_torch_looks_through_nvml_only_where_there_are_gpus(
    has_gpu: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    cache_gpu_probe()
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == expected


@pytest.mark.parametrize(("fastest", "name"), [("float32", "32-true"), ("bf16-mixed", "bf16-mixed")])
def test_the_fastest_precision_has_lightnings_name(fastest: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assemble, "choose_precision", lambda kind: fastest if kind == "cpu" else "another device's")
    assert assemble.fastest_precision("cpu") == name
