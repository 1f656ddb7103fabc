"""One training, from a prepared configuration to its end: objects are built, trained, and the outcome is printed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

from lightning.pytorch import Callback
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from fmlab.config.build import full_keys
from fmlab.config.prepare import Prepared, trust_option
from fmlab.config.schema import TensorboardOptions, WandbOptions
from fmlab.config.values import read_file
from fmlab.data.contract import check_classes
from fmlab.errors import UserError
from fmlab.networks import describe
from fmlab.records import RunLayout, Status, read_meta, write_status
from fmlab.records.meta import add_to_meta
from fmlab.training.assemble import Assembly, assemble
from fmlab.training.checkpoint_files import logged_rows, newest_whole, refuse_other_network, step_of
from fmlab.training.checkpoints import Checkpoints
from fmlab.training.classifier import NoisyClassifier
from fmlab.training.consensus import StopRequested, StopSignals
from fmlab.training.data_check import DataCheck
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.interruption import Preemption
from fmlab.training.loggers import RunCsv, make_tensorboard, make_wandb
from fmlab.training.nonfinite import NonFinite
from fmlab.training.overhead import cache_gpu_probe
from fmlab.training.progress import Heartbeat
from fmlab.training.run_folder import (
    RUN_DIRECTORY,
    RecordedStart,
    is_first_process,
    only_process,
    place_run,
    recorded_status,
)


def train(
    prepared: Prepared,
    resumed: RunLayout | None,
    before: Status | None,
    started_by_another: bool,
    say_stopped: Callable[[RunLayout, signal.Signals, int], None],
) -> signal.Signals | None:
    """Trains a new run, or continues one; returns the signal that stopped it before its end.

    Args:
        prepared: The complete configuration, its trainer section completed.
        resumed: The run to continue.
        before: The status that this run had when its record was read.
        started_by_another: Whether another process of the same run started this one.
        say_stopped: Called with the run, the signal and the step when a signal has stopped the run.
    """
    layout = resumed or place_run(prepared, started_by_another)
    os.environ.setdefault(RUN_DIRECTORY, str(layout.root.resolve()))
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(StopSignals())
        stack.enter_context(only_process(layout, before))
        checkpoint, damaged = find_checkpoint(layout, before, prepared) if resumed else (None, {})
        step = step_of(checkpoint) if checkpoint else 0
        course = stack.enter_context(recorded_status(layout, step if checkpoint else None))
        cache_gpu_probe()
        preemption = Preemption(signals, lambda cause: write_status(layout, "failed", error=cause))
        rows = logged_rows(checkpoint) if checkpoint else 0
        start = RecordedStart(layout, prepared, rows, [*damaged, *layout.torn])
        try:
            parts = build(prepared, layout, checkpoint, start, preemption)
            if checkpoint:
                refuse_other_network(parts.model, checkpoint, read_file(layout.config), prepared.config)
        except UserError:
            if resumed is None and is_first_process():
                shutil.rmtree(layout.root)  # nothing began: it must not count as the newest run
            raise
        notes = [f"note: {note}" for note in prepared.notes]
        instead = checkpoint.name if checkpoint else "nothing"
        notes += [f"note: {file} is damaged ({cause}); {instead} is used instead" for file, cause in damaged.items()]
        announce(parts, layout, notes, checkpoint)
        try:
            with full_keys(type(parts.model), "model"):
                parts.trainer.fit(parts.model, datamodule=parts.data, ckpt_path=checkpoint, weights_only=True)
        except StopRequested as stop:
            stop_signal, step = stop.signal, stop.step
            preemption.consensus.conclude(lambda: say_stopped(layout, stop_signal, step))
            return stop_signal
        except BaseException as error:
            course.trained = parts.trainer.global_step > step
            if checkpoint and not course.trained and is_first_process():
                start.take_back()
            if isinstance(error, SystemExit):
                raise KeyboardInterrupt from None  # what Lightning makes an exit of
            raise
        course.done = parts.trainer.global_step
    conclude(parts, layout, trust_option(prepared.config))
    return None


def find_checkpoint(
    layout: RunLayout, before: Status | None, prepared: Prepared
) -> tuple[Path | None, dict[Path, str]]:
    """The newest whole checkpoint of a run that is resumed, and the damaged ones with what is wrong with them.

    A run that was submitted, or whose job SLURM has restarted, may begin without any.

    Raises:
        UserError: If there is nothing to continue from, or the run is beyond the last step already.
    """
    checkpoint, damaged = newest_whole([layout.last, layout.previous, layout.best])
    job = os.environ.get("SLURM_JOB_ID")
    in_its_job = before is not None and (before.state == "submitted" or (job and before.life.startswith(f"{job}:")))
    if checkpoint is None and not in_its_job and is_first_process():
        hint = f"begin again with: fmlab fit --config {layout.config}"
        raise UserError("nothing was saved that could be continued", key=str(layout.root), hint=hint)
    end, step = prepared.config["trainer"].get("max_steps", -1), step_of(checkpoint) if checkpoint else 0
    if 0 < end < step:
        raise UserError(
            f"the run is at step {step} already, got {end}", key="trainer.max_steps", hint="give a later step"
        )
    return checkpoint, damaged


def build(
    prepared: Prepared, layout: RunLayout, checkpoint: Path | None, start: RecordedStart, preemption: Preemption
) -> Assembly:
    """Model, data and trainer of a run, with its loggers, and with the callbacks that a run needs in any case."""
    config = prepared.config
    check_classes(read_meta(layout).get("data") or {}, prepared.data)
    options = WandbOptions(**(config.get("wandb") or {}))
    loggers = [RunCsv(layout), *make_wandb(options, layout, config["run"].get("tags") or [], config)]
    if TensorboardOptions(**(config.get("tensorboard") or {})).enabled:
        loggers.append(make_tensorboard(layout, step_of(checkpoint) if checkpoint else None))
    callbacks: list[Callback] = [start, DataCheck(layout), Heartbeat(layout)]
    callbacks += [] if config.get("checkpoint") is not None else [Checkpoints()]
    callbacks += [] if config.get("nonfinite") is not None else [NonFinite()]
    return assemble(prepared, str(layout.root), loggers, callbacks, [preemption])


@rank_zero_only
def announce(parts: Assembly, layout: RunLayout, notes: list[str], checkpoint: Path | None) -> None:
    """Prints what is about to run, in a few lines."""
    network, trainer = parts.model.network, parts.trainer
    condition = parts.model.num_classes if isinstance(parts.model, GenerativeModule) else None
    parameters, flops = describe(network, tuple(parts.data.shape), condition)
    add_to_meta(layout, network={"parameters": parameters, "flops": flops})  # of one forward on one sample
    start = f" (from step {step_of(checkpoint)})" if checkpoint else ""
    size = f"{parameters / 1e6:.2f} M parameters, {flops / 1e9:.3g} GFLOPs a forward"
    device = f"{trainer.num_devices * trainer.num_nodes} x {trainer.strategy.root_device.type}"
    print(
        *notes,
        f"run        {layout.root}{start}",
        f"network    {type(network).__name__}, {size}",
        f"path       {parts.model.about}",
        f"machine    {device}, precision {trainer.precision}, {trainer.max_steps} steps",
        sep="\n",
        flush=True,
    )


@rank_zero_only
def conclude(parts: Assembly, layout: RunLayout, trust: str) -> None:
    """Prints where the run is, its best scores and what to do next, with the option `trust` where it is needed."""
    trainer = parts.trainer
    print(f"\ndone       {layout.root}")
    metrics = trainer.callback_metrics.items()
    scores = {name: float(value) for name, value in metrics if name.startswith("val/") and "_t_bin_" not in name}
    if scores:
        print("scores     " + "  ".join(f"{name} {value:.4g}" for name, value in sorted(scores.items())))
    for checkpoints in trainer.checkpoint_callbacks:
        if isinstance(checkpoints, Checkpoints) and checkpoints.best_score is not None:
            print(f"best       {checkpoints.best_name} {checkpoints.best_score:.4g} at step {checkpoints.best_step}")
    pictures = sorted((layout.root / "samples").glob("*.png"))
    if pictures:
        print(f"samples    {pictures[-1]}")
    if not layout.has_checkpoint:
        print("nothing was saved, as checkpoint.enabled is false", flush=True)
        return
    labels = " --labels 0-9 --guidance.scale 2" if (parts.model.num_classes or 0) >= 10 else ""
    use = f"fmlab sample {layout.root}{labels}"
    if isinstance(parts.model, NoisyClassifier):
        use = f"fmlab sample RUN --guidance.classifier {layout.root} --guidance.scale 2"
    print(f"next       {use}{trust}")
    longer = f"--trainer.max_steps={2 * trainer.global_step}"
    print(f"           fmlab fit --resume {layout.root} {longer}{trust}", flush=True)
