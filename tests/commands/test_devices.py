"""What the machine is found to be able to do."""

from __future__ import annotations

import os

import pytest
import torch

from fmlab.training import devices


@pytest.mark.parametrize(("found", "expected"), [(False, "0"), (True, "1")])
def test_gpus_are_looked_for_through_nvml_only_where_there_are_some(
    found: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found)
    devices.look_for_gpus_once()
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == expected


@pytest.mark.parametrize(("fastest", "word"), [("float32", "32-true"), ("bf16-mixed", "bf16-mixed")])
def test_the_fastest_precision_is_named_in_lightnings_words(
    fastest: str, word: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "choose_precision", lambda kind: fastest if kind == "cpu" else "another device's")
    assert devices.fastest_precision("cpu") == word
