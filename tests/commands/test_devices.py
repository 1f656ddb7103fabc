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


def test_trials_of_a_sweep_agree_on_their_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timing depends on what else the machine does: two trials would be compared that computed differently."""
    monkeypatch.setattr(devices, "_processor_flags", lambda: {"avx512_bf16"})
    monkeypatch.setattr(devices, "bf16_is_faster", lambda: True)
    for name in ("WORLD_SIZE", "SLURM_NTASKS", "FMLAB_TRIAL"):
        monkeypatch.delenv(name, raising=False)
    assert devices.choose_precision("cpu") == "bf16-mixed"
    monkeypatch.setenv("FMLAB_TRIAL", "runs/paths/paths-0000")
    assert devices.choose_precision("cpu") == "32-true"
