"""`fmlab submit`: a run, or one for each of several seeds, handed to SLURM."""

from __future__ import annotations

import shlex
from difflib import get_close_matches

from fmlab.config.arguments import pop_flag, pop_option
from fmlab.errors import UserError, nearest

USAGE = """\
usage: fmlab submit --config FILE [--KEY=VALUE ...] [--slurm.time 12:00:00 ...] [--dry-run]

  fmlab submit --config experiments/dit_cifar.yaml --trainer.devices=8 --trainer.num_nodes=2 --slurm.time 12:00:00
  fmlab submit --config experiments/digits.yaml --trainer.devices=1 --array 5      five seeds
  fmlab submit ... --dry-run                        check everything, print the script, submit nothing

All options of fmlab fit, and
--slurm.NAME VALUE   partition, account, qos, constraint, time, gpu, cpus_per_task, mem, signal_seconds, modules,
                     container, setup, options; nodes, processes and GPUs follow from the trainer
--cluster FILE       a YAML file of such values (cluster.yaml here, or fmlab/cluster.yaml in ~/.config)
--array N            N runs, the seed and the N - 1 that follow; --at_once K of them at a time
--after JOB          begin when that job has ended well
--max_restarts N     put back into the queue at most so often (50)
--dry_run            (or --dry-run) print the script
"""

OPTIONS = ("--dry-run", "--cluster", "--after", "--array", "--at_once", "--max_restarts")


def main(argv: list[str]) -> int:
    """Reads the options, then checks and submits."""
    if any(word in ("-h", "--help") for word in argv):
        print(USAGE, end="")
        return 0
    words = list(argv)
    dry_run = pop_flag(words, "--dry-run", "--dry_run")
    cluster, after = pop_option(words, "--cluster"), pop_option(words, "--after")
    if after is not None and not after.isdigit():
        raise UserError(f"{after!r} is no job's number", key="after", hint="such as --after 12345")
    seeds, at_once = _pop_number(words, "--array", 1), _pop_number(words, "--at_once", 1)
    restarts = _pop_number(words, "--max_restarts", 0)
    slurm, fit = split_slurm_options(words)
    _refuse_misspelt(fit)
    if not any(word.startswith(("--config", "-c")) for word in fit):
        raise UserError("which experiment?", key="submit", hint="fmlab submit --config experiments/digits.yaml")
    from fmlab.launch.slurm.cluster import find_cluster_file, read_cluster
    from fmlab.launch.slurm.script import Submission
    from fmlab.launch.slurm.submit_runs import submit_runs

    settings = read_cluster(find_cluster_file(cluster), slurm)
    typed = shlex.join(["fmlab", "submit", *argv])
    submission = Submission(typed, settings, at_once, after, 50 if restarts is None else restarts, dry_run)
    submit_runs(fit, seeds or 1, submission)
    return 0


def split_slurm_options(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Separates the `--slurm.*` options, by name, from all other words.

    Raises:
        UserError: If one has no value.
    """
    options: dict[str, str] = {}
    rest: list[str] = []
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if not word.startswith("--slurm."):
            rest.append(word)
            continue
        name, equals, text = word.removeprefix("--slurm.").partition("=")
        if not equals:
            if not queue:
                raise UserError("needs a value", key=word)
            text = queue.pop(0)
        options[name] = text
    return options, rest


def _refuse_misspelt(words: list[str]) -> None:
    """Refuses what looks like one of this command's own options; it would be taken for a key of the configuration."""
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("--") and get_close_matches(name, OPTIONS, n=1, cutoff=0.8):
            raise UserError("is no option", key=name, hint=nearest(name, OPTIONS))


def _pop_number(words: list[str], name: str, least: int) -> int | None:
    text = pop_option(words, name)
    if text is not None and (not text.isdigit() or int(text) < least):
        raise UserError(f"expected a number of {least} or more, got {text!r}", key=name.lstrip("-"))
    return None if text is None else int(text)
