"""`fmlab fit`: trains what a configuration describes."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from functools import partial
from typing import Annotated

from fmlab.config.options import Overrides
from fmlab.config.prepare import prepare, prepare_resumed, trust_option
from fmlab.launch.slurm.client import exit_code, refusal, requeue
from fmlab.records import RunLayout, find_run, read_status, write_status


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """Trains what a configuration describes, or continues a run, which then repeats itself bit for bit.

      fmlab fit --config experiments/digits.yaml
      fmlab fit --config experiments/digits.yaml --model.path=VP --model.path.beta_max=12
      fmlab fit --config experiments/digits.yaml --model.network=UNet --model.network.channels=32
      fmlab fit --config experiments/digits.yaml --data.global_batch_size=256 --trainer.max_steps=2000
      fmlab fit --resume digits                       continue the newest run of that name

    Several --config files merge by key, left to right; overrides come last and reach every ${...} in the files.
    A part is named by its class, alone (path: VP) or with arguments:

      path:
        class_path: VP
        init_args: {beta_max: 12}

    Your own part in my_net.py, beside the file or in this folder, is my_net.MyNet; there is nothing to register.

    Args:
        resume: Go on in place with a run: its folder, its id, or its experiment's name.
        trust: Import the run author's own code, which the resumed run names.
        print_config: Print the complete configuration, which is itself a valid one, and stop.
        overrides: A key of the configuration and its value.
    """

    resume: str | None = None
    trust: bool = False
    print_config: bool = False
    overrides: Annotated[tuple[str, ...], Overrides()] = ()


def run(options: FitOptions) -> int:
    """Trains, and says how it ended."""
    layout = find_run(options.resume) if options.resume else None
    before = read_status(layout) if layout else None
    if layout is None:
        prepared = prepare(list(options.overrides))
    else:
        prepared = prepare_resumed(layout, options.overrides, options.trust)
    if options.print_config:
        print(prepared.yaml(), end="")
        return 0
    from fmlab.training.assemble import trainer_section
    from fmlab.training.fit import train
    from fmlab.training.run_folder import RUN_DIRECTORY

    prepared.config["trainer"] = trainer_section(prepared.config)
    started_by_another = RUN_DIRECTORY in os.environ
    try:
        trust = trust_option(prepared.config)
        stop_signal = train(prepared, layout, before, started_by_another, partial(say_stopped, trust=trust))
    finally:
        if not started_by_another:
            os.environ.pop(RUN_DIRECTORY, None)
    return 0 if stop_signal is None or started_by_another else exit_code(stop_signal)


def say_stopped(layout: RunLayout, stop_signal: signal.Signals, step: int, trust: str = "") -> None:
    """Records and prints that a signal stopped the run; asks SLURM to start its job again where it should."""
    write_status(layout, "interrupted" if stop_signal == signal.SIGINT else "preempted", step=step)
    from fmlab.training.run_folder import how_to_continue

    print(f"\nstopped by {stop_signal.name} at step {step}; {how_to_continue(layout, trust)}", flush=True)
    why_not = refusal(stop_signal, os.environ)
    if why_not is None:
        print("asking SLURM to requeue the job", flush=True)
        print(requeue(), flush=True)
    elif "SLURM_JOB_ID" in os.environ:
        print(f"SLURM is not asked to requeue the job: {why_not}", flush=True)
