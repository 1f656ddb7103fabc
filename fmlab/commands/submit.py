"""`fmlab submit`: a run, or one for each of several seeds, handed to SLURM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fmlab.commands.shared import Count, QueueOptions
from fmlab.config.options import Overrides
from fmlab.errors import UserError


@dataclass(frozen=True, kw_only=True)
class SubmitOptions(QueueOptions):
    """Checks a training, and hands it to SLURM. All options of fmlab fit, and those below.

      fmlab submit --config experiments/dit_cifar.yaml --trainer.devices=8 --trainer.num_nodes=2 --slurm.time 12:00:00
      fmlab submit --config experiments/digits.yaml --trainer.devices=1 --array 5      five seeds
      fmlab submit --config experiments/digits.yaml --trainer.devices=1 --dry-run      print the script only

    Args:
        array: How many runs; each has the seed after the one before it.
        after: The number of a job that has to end well before this one begins.
        overrides: A key of the configuration and its value.
    """

    array: Count = 1
    after: Count | None = None
    overrides: Annotated[tuple[str, ...], Overrides()] = ()

    def __post_init__(self) -> None:
        if not any(word.startswith(("--config", "-c")) for word in self.overrides):
            raise UserError("which experiment?", key="submit", hint="fmlab submit --config experiments/digits.yaml")


def run(options: SubmitOptions) -> int:
    """Checks everything, then submits."""
    submission = options.submission("submit", options.after)
    from fmlab.launch.slurm.submit_runs import submit_runs

    submit_runs(options.overrides, options.array, submission)
    return 0
