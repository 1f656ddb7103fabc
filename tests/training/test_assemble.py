"""The trainer that a configuration makes."""

from __future__ import annotations

import pytest

from fmlab.training.assemble import make_trainer, trainer_section


@pytest.mark.parametrize(("accumulated", "batches"), [(1, 5), (4, 20)])
def test_a_validation_interval_counts_optimizer_steps(accumulated: int, batches: int) -> None:
    """Lightning counts batches, of which a step takes several where gradients are accumulated."""
    section = {"max_steps": 8, "val_check_interval": 5, "accumulate_grad_batches": accumulated, "accelerator": "cpu"}
    arguments = trainer_section({"trainer": {**section, "logger": False, "enable_checkpointing": False}})
    assert make_trainer(arguments).val_check_interval == batches
    assert arguments["val_check_interval"] == 5, "the record has what was asked for"


def test_a_share_of_an_epoch_stays_one() -> None:
    arguments = {"val_check_interval": 0.5, "accumulate_grad_batches": 4, "max_epochs": 1, "accelerator": "cpu"}
    assert make_trainer({**arguments, "logger": False, "enable_checkpointing": False}).val_check_interval == 0.5
