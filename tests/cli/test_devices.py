"""What the machine is found to be able to do."""

from __future__ import annotations

import os

import pytest
import torch

from fmlab.cli import devices


@pytest.mark.parametrize(("found", "expected"), [(False, "0"), (True, "1")])
def test_gpus_are_looked_for_through_nvml_only_where_there_are_some(
    found: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: found)
    devices.look_for_gpus_once()
    assert os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] == expected
