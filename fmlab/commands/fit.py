"""`fmlab fit` and `fmlab validate`."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # lightning 2.6 still makes calls that 4.x deprecates

import yaml
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from fmlab.config.arguments import pop_flag, pop_option
from fmlab.config.prepare import Prepared, located_errors, prepare
from fmlab.config.run_options import RunOptions, TensorboardOptions, WandbOptions
from fmlab.config.run_record import write_run_record
from fmlab.config.trust import check_trusted
from fmlab.errors import RunFailure, UserError
from fmlab.launch.slurm.requeue import exit_code, refusal, requeue
from fmlab.networks import describe
from fmlab.records import (
    RunLayout,
    find_run,
    keep_rows,
    new_run,
    read_meta,
    read_status,
    trial_folder,
    write_status,
)
from fmlab.records.atomic import atomic_write_text, is_full_disk
from fmlab.records.meta import add_to_meta
from fmlab.records.secrets import without_secrets
from fmlab.training.builder import Builder, trainer_section
from fmlab.training.checkpoint_files import logged_rows, newest_whole, step_of
from fmlab.training.checkpoints import Checkpoints
from fmlab.training.devices import look_for_gpus_once
from fmlab.training.generative_module import GenerativeModule
from fmlab.training.loggers import RunCsv, make_tensorboard, make_wandb
from fmlab.training.network_module import NetworkModule
from fmlab.training.noisy_classifier import NoisyClassifier
from fmlab.training.nonfinite import NonFinite
from fmlab.training.preemption import Preemption
from fmlab.training.quiet import silence_lightning
from fmlab.training.step_hooks import NoStepHooks
from fmlab.training.stop_signals import StopRequested, StopSignals

VALIDATE_USAGE = "fmlab validate RUN [--checkpoint best|last|FILE] [--fid.steps=50 ...]"
RUN_DIRECTORY = "FMLAB_RUN_DIR"
"""The run's folder, for the processes that Lightning starts from this one."""


def main(argv: list[str]) -> int:
    """Trains; `--resume RUN` goes on in place, `--print_config` only prints the complete configuration."""
    argv = list(argv)
    silence_lightning()
    print_config, trust = pop_flag(argv, "--print_config"), pop_flag(argv, "--trust")
    resume = pop_option(argv, "--resume")
    layout = find_run(resume) if resume else None
    prepared = prepare(_resumed(argv, layout, trust) if layout else argv)
    if print_config:
        print(prepared.yaml(), end="")
        return 0
    prepared.config["trainer"] = trainer_section(prepared.config)
    started_by_another = RUN_DIRECTORY in os.environ
    try:
        asked = _run(prepared, layout, started_by_another)
    finally:
        if not started_by_another:
            os.environ.pop(RUN_DIRECTORY, None)
    return 0 if asked is None or started_by_another else exit_code(asked)


def _run(prepared: Prepared, resumed: RunLayout | None, started_by_another: bool) -> signal.Signals | None:
    """Trains a new run, or goes on with one; returns the signal that stopped it before its end."""
    layout = resumed or place_run(prepared, started_by_another)
    if resumed and read_status(layout).state == "submitted" and _is_first_process():
        atomic_write_text(layout.config, prepared.yaml())  # with what only the machine it runs on could decide
    os.environ.setdefault(RUN_DIRECTORY, str(layout.root.resolve()))
    checkpoint, damaged = newest_whole([layout.last, layout.previous, layout.best]) if resumed else (None, {})
    with StopSignals() as signals, recorded(layout, resumed=resumed is not None) as say_done:
        look_for_gpus_once()
        preemption = Preemption(signals, lambda cause: write_status(layout, "failed", error=cause))
        try:
            cli = build(prepared, layout, checkpoint, preemption)
        except UserError:
            if resumed is None and _is_first_process():
                shutil.rmtree(layout.root)  # nothing began: it must not count as the newest run
            raise
        for kept in cli.trainer.checkpoint_callbacks:
            if isinstance(kept, Checkpoints):
                kept.damaged = list(damaged)
        announce(cli, layout, prepared, checkpoint, damaged)
        try:
            with located_errors(prepared.config):
                cli.trainer.fit(cli.model, datamodule=cli.datamodule, ckpt_path=checkpoint, weights_only=True)
        except StopRequested as stop:
            asked, step = stop.signal, stop.step
            preemption.conclude(lambda: say_stopped(layout, asked, step))
            return asked
        except SystemExit:
            raise KeyboardInterrupt from None  # what Lightning makes an exit of
        say_done(cli.trainer.global_step)
    conclude(cli, layout)
    return None


def say_stopped(layout: RunLayout, asked: signal.Signals, step: int) -> None:
    """The last words of a run that a signal stopped; SLURM is asked to start its job again, where it should be."""
    write_status(layout, "interrupted" if asked == signal.SIGINT else "preempted", step=step)
    saved = "" if layout.last.exists() else ", nothing was saved"
    print(f"\nstopped by {asked.name} at step {step}{saved}; go on with: fmlab fit --resume {layout.root}", flush=True)
    why_not = refusal(asked, os.environ)
    if why_not is None:
        print("asking SLURM to requeue the job", flush=True)
        print(requeue(), flush=True)
    elif "SLURM_JOB_ID" in os.environ:
        print(f"SLURM is not asked to requeue the job: {why_not}", flush=True)


def validate(argv: list[str]) -> int:
    """Repeats the validation of a finished run: `fmlab validate RUN [--checkpoint best|last|FILE] [overrides]`."""
    argv = list(argv)
    silence_lightning()
    checkpoint, trust = pop_option(argv, "--checkpoint") or "best", pop_flag(argv, "--trust")
    if not argv or argv[0].startswith("-") or "=" in argv[0]:
        raise UserError(
            "which run?", key="validate", hint="fmlab validate RUN [--checkpoint best|last|FILE] [--fid.steps=50]"
        )
    layout = find_run(argv.pop(0))
    file = layout.checkpoint(checkpoint)
    _let_import(layout, trust)
    prepared = prepare(["--config", str(layout.config), *argv])
    prepared.config["trainer"] = trainer_section(prepared.config)
    with located_errors(prepared.config):
        cli = Builder(prepared.config, str(layout.root / "validate"))
    metrics = cli.trainer.validate(
        cli.model, datamodule=cli.datamodule, ckpt_path=file, verbose=False, weights_only=True
    )
    for name, value in sorted(metrics[0].items()):
        print(f"{name:20} {value:.5g}")
    return 0


def _let_import(layout: RunLayout, trust: bool) -> None:
    """Makes the user's own parts of a run importable from wherever they were; without trust, refuses such a run."""
    if not trust:
        check_trusted([layout.config, layout.raw_config])
        return
    sys.path.extend(folder for folder in read_meta(layout).get("import_folders", []) if folder not in sys.path)


def _resumed(argv: list[str], layout: RunLayout, trust: bool) -> list[str]:
    """The command line of a resumed run: its own configuration first, then what is typed now.

    What it says as `${...}` follows the new words, such as a schedule's length; the precision stays what it was.
    """
    _let_import(layout, trust)
    precision = yaml.safe_load(layout.config.read_text())["trainer"]["precision"]
    kept = [f"--trainer.precision={precision}", f"--run.name={layout.experiment}"]
    return ["--config", str(layout.raw_config), *kept, *argv]


def place_run(prepared: Prepared, started_by_another: bool) -> RunLayout:
    """The folder of a new run; a process that Lightning started, or another task of the job, finds the first one's.

    A trial of a sweep goes where the sweep wants it.
    """
    if started_by_another:
        layout = RunLayout(Path(os.environ[RUN_DIRECTORY]))
        prepared.config["trainer"] = yaml.safe_load(layout.config.read_text())["trainer"]
        return layout
    run = RunOptions(**prepared.config["run"])
    assert run.name is not None
    trial = trial_folder()
    if trial is None:
        layout = new_run(run.dir, run.name, run_id=_job_id())
    else:
        layout = new_run(trial.parent.parent, trial.parent.name, run_id=trial.name)
    os.environ[RUN_DIRECTORY] = str(layout.root.resolve())
    if _is_first_process():
        write_run_record(layout, prepared)
    return layout


def _job_id() -> str | None:
    """One name for all tasks of a job that a launcher started at once; None where this process is the only one.

    A run that W&B's agent started has W&B's id, so that the record and the page there are found from one another.
    """
    if os.environ.get("WANDB_SWEEP_ID") and os.environ.get("WANDB_RUN_ID"):
        return os.environ["WANDB_RUN_ID"]
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_PROCID" in os.environ:
        return f"slurm-{os.environ['SLURM_JOB_ID']}-{os.environ.get('SLURM_STEP_ID', '0')}"
    if int(os.environ.get("WORLD_SIZE", "1")) > 1 and os.environ.get("TORCHELASTIC_RUN_ID", "none") != "none":
        return f"torchrun-{os.environ['TORCHELASTIC_RUN_ID']}"
    return None


def _is_first_process() -> bool:
    return int(getattr(rank_zero_only, "rank", 0)) == 0


class Heartbeat(NoStepHooks, Callback):
    """Writes the step into the run's status every few seconds, so that others see it live."""

    def __init__(self, layout: RunLayout, seconds: float = 10.0) -> None:
        self.layout, self.seconds, self._last = layout, seconds, 0.0

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        now = time.monotonic()
        if trainer.is_global_zero and now - self._last > self.seconds:
            self._last = now
            write_status(self.layout, "running", step=trainer.global_step)


@contextlib.contextmanager
def recorded(layout: RunLayout, resumed: bool) -> Iterator[Any]:
    """Within, the run's status is `running`; afterwards it is done, interrupted or failed, with the error's line."""
    first = _is_first_process()
    if first and resumed and read_status(layout).state == "running":
        raise UserError("is still running", key=str(layout.root), hint="stop it before you resume it")
    steps: list[int] = []
    if first:
        write_status(layout, "running", step=0)
    try:
        yield steps.append
    except (KeyboardInterrupt, SystemExit):
        if first:
            write_status(layout, "interrupted")
            print(f"\ninterrupted; go on with: fmlab fit --resume {layout.root}")
        raise
    except BaseException as error:
        if first and layout.root.is_dir():
            lines = str(error).strip().splitlines() or [""]
            with contextlib.suppress(OSError):  # on a full disk the error itself is what must be told
                write_status(layout, "failed", error=without_secrets(f"{type(error).__name__}: {lines[0]}"))
        if is_full_disk(error) and not isinstance(error, UserError):
            raise RunFailure("the disk is full", key=str(layout.root), hint=_go_on(layout)) from error
        raise
    if first and steps:
        write_status(layout, "done", step=steps[0])


def _go_on(layout: RunLayout) -> str:
    return f"make room, then go on with: fmlab fit --resume {layout.root}"


def build(prepared: Prepared, layout: RunLayout, checkpoint: Path | None, preemption: Preemption) -> Builder:
    """Model, data and trainer of a run, with its loggers; metrics later than the checkpoint are dropped."""
    config = prepared.config
    options = WandbOptions(**(config.get("wandb") or {}))
    if _is_first_process():
        keep_rows(layout.metrics, logged_rows(checkpoint) if checkpoint else 0)
    loggers = [RunCsv(layout), *make_wandb(options, layout, config["run"].get("tags") or [], config)]
    if TensorboardOptions(**(config.get("tensorboard") or {})).enabled:
        loggers.append(make_tensorboard(layout, step_of(checkpoint) if checkpoint else None))
    with located_errors(config):
        own: list[Callback] = [Heartbeat(layout), *([] if config.get("nonfinite") is not None else [NonFinite()])]
        return Builder(config, str(layout.root), loggers, own, [preemption])


@rank_zero_only
def announce(
    cli: Builder, layout: RunLayout, prepared: Prepared, checkpoint: Path | None, damaged: Mapping[Path, str]
) -> None:
    """What is about to run, in a few lines."""
    for note in prepared.notes:
        print(f"note: {note}")
    for file, cause in damaged.items():
        print(f"note: {file} is damaged ({cause}); {checkpoint.name if checkpoint else 'nothing'} is used instead")
    network, trainer = cli.model.network, cli.trainer
    condition = cli.model.num_classes if isinstance(cli.model, GenerativeModule) else None
    parameters, flops = describe(network, tuple(cli.datamodule.shape), condition)
    add_to_meta(layout, network={"parameters": parameters, "flops": flops})  # of one forward on one sample
    print(f"run        {layout.root}" + (f" (from step {step_of(checkpoint)})" if checkpoint else ""))
    print(
        f"network    {type(network).__name__}, {parameters / 1e6:.2f} M parameters, {flops / 1e9:.3g} GFLOPs a forward"
    )
    print(f"path       {cli.model.about}")
    device = f"{trainer.num_devices * trainer.num_nodes} x {trainer.strategy.root_device.type}"
    print(f"machine    {device}, precision {trainer.precision}, {trainer.max_steps} steps", flush=True)


@rank_zero_only
def conclude(cli: Builder, layout: RunLayout) -> None:
    """Where the run is, its best scores and what to do next."""
    trainer = cli.trainer
    print(f"\ndone       {layout.root}")
    found = trainer.callback_metrics.items()
    scores = {name: float(v) for name, v in found if name.startswith("val/") and "_t_bin_" not in name}
    if scores:
        print("scores     " + "  ".join(f"{name} {value:.4g}" for name, value in sorted(scores.items())))
    kept = next((callback for callback in trainer.checkpoint_callbacks if isinstance(callback, Checkpoints)), None)
    if kept is not None and kept.best_score is not None:
        print(f"best       {kept.best_name} {kept.best_score:.4g} at step {kept.best_step}")
    pictures = sorted((layout.root / "samples").glob("*.png"))
    if pictures:
        print(f"samples    {pictures[-1]}")
    print(f"next       {next_command(cli.model, layout)}")
    print(f"           fmlab fit --resume {layout.root} --trainer.max_steps={2 * trainer.global_step}", flush=True)


def next_command(model: NetworkModule, layout: RunLayout) -> str:
    """What a finished run is good for."""
    if isinstance(model, NoisyClassifier):
        return f"fmlab sample RUN --guidance.classifier {layout.root} --guidance.scale 2"
    labels = " --labels 0-9 --guidance.scale 2" if (model.num_classes or 0) >= 10 else ""
    return f"fmlab sample {layout.root}{labels}"
