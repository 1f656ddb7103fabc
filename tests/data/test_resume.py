"""A run resumed from any of its checkpoints reads on exactly where the first one stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.row_numbers import RowNumbers, Witness
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

MIDDLE = 17  # of 30 batches, ten an epoch: seven batches into the second epoch


class SaveEverywhere(Callback):
    """Saves in the hooks where callbacks save, under the number of batches finished."""

    def __init__(self, folder: Path, hooks: tuple[str, ...]) -> None:
        for hook in hooks:
            setattr(self, hook, self._saver(folder, hook))

    @staticmethod
    def _saver(folder: Path, hook: str) -> Any:
        def save(trainer: Trainer, *_: Any) -> None:
            if not trainer.sanity_checking:
                count = trainer.fit_loop.epoch_loop.batch_progress.total.processed  # type: ignore[attr-defined]
                trainer.save_checkpoint(folder / f"{hook}-{count}.ckpt")

        return save


class Sigterm(Callback):
    """Marks a SIGTERM as received in the batch numbered `at`."""

    def __init__(self, at: int) -> None:
        self.at = at

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        if trainer.fit_loop.total_batch_idx == self.at:
            trainer._signal_connector.received_sigterm = True


def fit(folder: Path, model: Witness, *callbacks: Callback, ckpt_path: Path | None = None, **arguments: Any) -> Witness:
    options: dict[str, Any] = {"max_epochs": 3, "val_check_interval": 3, **arguments}
    accumulate = options.get("accumulate_grad_batches", 1)
    trainer = Trainer(
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        use_distributed_sampler=False,
        default_root_dir=folder,
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(model, datamodule=RowNumbers(4 * accumulate), ckpt_path=ckpt_path, weights_only=True)
    return model


@pytest.mark.filterwarnings("error:.*not resumable.*")
@pytest.mark.filterwarnings("error:.*does not have many workers.*")
@pytest.mark.parametrize("validation", [{}, {"limit_val_batches": 0}, {"check_val_every_n_epoch": None}])
def test_resuming_in_mid_epoch_continues_the_sequence(tmp_path: Path, validation: dict[str, Any]) -> None:
    saving = ModelCheckpoint(tmp_path, "{step}", every_n_train_steps=MIDDLE, save_top_k=-1)
    whole = fit(tmp_path, Witness(), saving, **validation)
    assert len({row for _, _, rows in whole.seen[:10] for row in rows}) == 40
    resumed = fit(tmp_path, Witness(), ckpt_path=tmp_path / f"step={MIDDLE}.ckpt", **validation)
    assert resumed.seen == whole.seen[MIDDLE:]
    assert torch.equal(resumed.weight, whole.weight)


HOOKS = ("on_train_batch_end", "on_validation_start", "on_validation_end", "on_train_epoch_start", "on_train_epoch_end")
RUNS = [
    {"max_epochs": 3},
    {"max_epochs": -1, "max_steps": 30},
    {"max_epochs": -1, "max_steps": 30, "val_check_interval": 7, "check_val_every_n_epoch": None},
    {"max_epochs": -1, "max_steps": 15, "accumulate_grad_batches": 2, "val_check_interval": 5},
]


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_every_checkpoint_of_a_run_continues_it(tmp_path: Path, run: dict[str, Any]) -> None:
    whole = fit(tmp_path, Witness(), SaveEverywhere(tmp_path, HOOKS), **run)
    assert len(whole.seen) == 30
    saved = list(tmp_path.glob("*.ckpt"))
    assert len(saved) > 40
    for path in saved:
        done = int(path.stem.split("-")[1])
        resumed = fit(tmp_path, Witness(), ckpt_path=path, **run)
        assert resumed.seen == whole.seen[done:], path.name


@pytest.mark.parametrize("run", RUNS[1:])
@pytest.mark.parametrize(("hook", "done"), [("on_train_epoch_end", 10), ("on_train_epoch_start", 20)])
def test_a_checkpoint_between_two_epochs_begins_the_next(
    tmp_path: Path, run: dict[str, Any], hook: str, done: int
) -> None:
    whole = fit(tmp_path, Witness(), SaveEverywhere(tmp_path, (hook,)), **run)
    resumed = fit(tmp_path, Witness(), ckpt_path=tmp_path / f"{hook}-{done}.ckpt", **run)
    assert resumed.seen == whole.seen[done:]


@pytest.mark.parametrize("batch", [0, 13])
def test_a_batch_that_failed_is_read_again(tmp_path: Path, batch: int) -> None:
    whole = fit(tmp_path, Witness())
    with pytest.raises(RuntimeError, match="as the test wants it"):
        fit(tmp_path, Witness(fails_at=batch), SaveEverywhere(tmp_path, ("on_exception",)))
    resumed = fit(tmp_path, Witness(), ckpt_path=tmp_path / f"on_exception-{batch}.ckpt")
    assert resumed.seen == whole.seen[batch:]


@pytest.mark.parametrize("batch", [12, 19])  # in an epoch, and at its end
def test_after_a_sigterm_the_next_batch_follows(tmp_path: Path, batch: int) -> None:
    run = RUNS[2]
    whole = fit(tmp_path, Witness(), **run)
    with pytest.raises(SystemExit):
        fit(tmp_path, Witness(), SaveEverywhere(tmp_path, ("on_exception",)), Sigterm(batch), **run)
    resumed = fit(tmp_path, Witness(), ckpt_path=tmp_path / f"on_exception-{batch + 1}.ckpt", **run)
    assert resumed.seen == whole.seen[batch + 1 :]


def test_overfitting_repeats_the_same_batches(tmp_path: Path) -> None:
    seen = fit(tmp_path, Witness(), overfit_batches=2, val_check_interval=1.0).seen
    assert [rows for _, _, rows in seen[:2]] == [rows for _, _, rows in seen[2:4]] == [rows for _, _, rows in seen[4:]]
