"""The options of `fmlab submit`, read before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches

from fmlab.config.arguments import pop_flag, pop_option
from fmlab.errors import UserError, nearest

USAGE = """\
usage: fmlab submit --config FILE [--KEY=VALUE ...] [--slurm.time 12:00:00 ...] [--dry-run]

  fmlab submit --config experiments/dit_cifar.yaml --trainer.devices=8 --trainer.num_nodes=2 --slurm.time 12:00:00
  fmlab submit --config experiments/digits.yaml --trainer.devices=1 --array 5      five seeds
  fmlab submit ... --dry-run                        check everything, print the script, submit nothing

All that fmlab fit takes, and
--slurm.NAME VALUE   partition, account, qos, constraint, time, gpu, cpus_per_task, mem, signal_seconds, modules,
                     container, setup, options; nodes, processes and GPUs follow from the trainer
--cluster FILE       a YAML file of such values (cluster.yaml here, or fmlab/cluster.yaml in ~/.config)
--array N            N runs, the seed and the N - 1 that follow; --at_once K of them at a time
--after JOB          begin when that job has ended well
--max_restarts N     put back into the queue at most so often (50)
--dry_run            (or --dry-run) print the script
"""

OPTIONS = ("--dry-run", "--cluster", "--after", "--array", "--at_once", "--max_restarts")


@dataclass(frozen=True)
class Submission:
    """What was asked for.

    Attributes:
        typed: All words.
        fit: Those for `fmlab fit`.
        slurm: The cluster's words by name.
        cluster: The file of defaults that was named.
        seeds: Runs to submit.
        at_once: Of several, how many may run at a time.
        after: A job to wait for.
        max_restarts: How often the job may be put back into the queue.
        dry_run: Whether only to print the script.
    """

    typed: tuple[str, ...]
    fit: tuple[str, ...]
    slurm: Mapping[str, str]
    cluster: str | None = None
    seeds: int = 1
    at_once: int | None = None
    after: str | None = None
    max_restarts: int = 50
    dry_run: bool = False


def main(argv: list[str]) -> int:
    """Reads the options, then checks and submits."""
    if any(word in ("-h", "--help") for word in argv):
        print(USAGE, end="")
        return 0
    asked = parse(argv)
    from fmlab.commands.submit import submit_run

    return submit_run(asked)


def parse(argv: list[str]) -> Submission:
    """The words, taken apart.

    Raises:
        UserError: If a value is missing or not of its kind.
    """
    words = list(argv)
    dry_run = pop_flag(words, "--dry-run", "--dry_run")
    cluster, after = pop_option(words, "--cluster"), pop_option(words, "--after")
    if after is not None and not after.isdigit():
        raise UserError(f"{after!r} is no job's number", key="after", hint="such as --after 12345")
    seeds, at_once = _number(words, "--array", 1, 1), _number(words, "--at_once", 1, None)
    restarts = _number(words, "--max_restarts", 0, None, "--max-restarts")
    slurm, fit = slurm_words(words)
    _refuse_misspelt(fit)
    if not any(word.startswith(("--config", "-c")) for word in fit):
        raise UserError("which experiment?", key="submit", hint="fmlab submit --config experiments/digits.yaml")
    return Submission(
        tuple(argv),
        tuple(fit),
        slurm,
        cluster,
        seeds or 1,
        at_once,
        after,
        50 if restarts is None else restarts,
        dry_run,
    )


def _refuse_misspelt(words: list[str]) -> None:
    """Refuses what looks like one of this command's own options; it would be taken for a key of the configuration."""
    for word in words:
        name = word.partition("=")[0]
        if name.startswith("--") and get_close_matches(name, OPTIONS, n=1, cutoff=0.8):
            raise UserError("is no option", key=name, hint=nearest(name, OPTIONS))


def _number(words: list[str], name: str, least: int, default: int | None, other: str | None = None) -> int | None:
    text = pop_option(words, name)
    if other is not None:
        text = pop_option(words, other) or text
    if text is None:
        return default
    if not text.isdigit() or int(text) < least:
        raise UserError(f"expected a number of {least} or more, got {text!r}", key=name.lstrip("-"))
    return int(text)


def slurm_words(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """The `--slurm.*` words by name, and all others.

    Raises:
        UserError: If one has no value.
    """
    found: dict[str, str] = {}
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
        found[name] = text
    return found, rest
