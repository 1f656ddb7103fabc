"""What `fmlab fit` costs over a bare PyTorch loop: the same training by both, in alternating pairs.

    python benchmarks/overhead.py --experiment digits --out digits.json
    python benchmarks/overhead.py --experiment digits --one-process

Each side of a pair is a fresh process; with `--one-process` it is a block of steps within one run, which a machine
that is busy with other things disturbs less.

Any further words are overrides of the experiment, for both sides: `--model.network.depth=2`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from bare_loop import Recipe
from clock import Measurement, read
from scipy.stats import t as student

from fmlab.config.prepare import Prepared, prepare
from fmlab.training.assemble import trainer_section

HERE = Path(__file__).resolve().parent
SIDES = ("fmlab", "bare")
GOAL_MILLISECONDS, GOAL_SHARE = 1.0, 0.01
Pair = dict[str, Measurement]


def main() -> None:
    arguments, overrides = parser().parse_known_args()
    blocks = arguments.pairs if arguments.one_process else 1
    first, last = arguments.warmup, arguments.warmup + blocks * arguments.steps
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        argv = fit_words(arguments.experiment, last, folder, overrides)
        prepared = prepare(argv)
        # Chosen once, as the choice may rest on a timing.
        precision = trainer_section(prepared.config)["precision"]
        recipe = recipe_of(prepared, precision, first, last, folder / "split.pt")
        recipe.save(folder / "recipe.json")
        file = folder / "measurement.json"
        if arguments.one_process:
            alternate(arguments, argv, precision, folder, file)
            return
        clock = {
            "class_path": "clock_callback.ClockCallback",
            "init_args": {"first": first, "last": last, "file": str(file)},
        }
        argv = [*argv, f"--trainer.precision={precision}", f"--trainer.callbacks={json.dumps([clock])}"]
        commands = {
            "fmlab": [sys.executable, "-m", "fmlab", "fit", *argv],
            "bare": [sys.executable, str(HERE / "bare_loop.py"), str(folder / "recipe.json"), str(file)],
        }
        print(f"{arguments.experiment}, {arguments.pairs} pairs, steps {first + 1}..{last}, precision {precision}")
        print(f"{'pair':>4} {'fmlab ms/step':>14} {'bare ms/step':>13} {'ratio':>7} {'difference ms':>14}  first")
        pairs: list[Pair] = []
        for index in range(arguments.pairs):
            order = SIDES if index % 2 == 0 else SIDES[::-1]
            pairs.append({side: measure(commands[side], file) for side in order})
            print(line_of(index, pairs[-1], order[0]), flush=True)
        summary = summarize(pairs)
        print(text_of(summary))
        if arguments.out is not None:
            measured = [{side: asdict(pair[side]) for side in SIDES} for pair in pairs]
            settings = {"experiment": arguments.experiment, "overrides": overrides, "precision": precision}
            settings |= {"recipe": asdict(recipe), "machine": machine()}
            arguments.out.write_text(json.dumps({**settings, "pairs": measured, "summary": summary}, indent=1) + "\n")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", default="digits", choices=("digits", "dit_fashion"))
    parser.add_argument("--pairs", type=int, default=10, help="how often each side runs")
    parser.add_argument("--steps", type=int, default=500, help="measured steps a run; 500 span one checkpoint")
    parser.add_argument("--warmup", type=int, default=60, help="steps before them; 60 take in the first report")
    parser.add_argument("--one-process", action="store_true", help="pairs are blocks of --steps steps in one run")
    parser.add_argument("--out", type=Path, help="write all of it as JSON")
    return parser


# The two sides ------------------------------------------------------------------------------------------------------


def fit_words(experiment: str, steps: int, folder: Path, overrides: list[str]) -> list[str]:
    """The words after `fmlab fit`: the shipped file, without validations, W&B offline as it is without a login."""
    return [
        "--config",
        str(HERE.parent / "experiments" / f"{experiment}.yaml"),
        f"--trainer.max_steps={steps}",
        "--trainer.limit_val_batches=0",
        "--wandb.mode=offline",
        f"--run.dir={folder / 'runs'}",
        *overrides,
    ]


def recipe_of(prepared: Prepared, precision: str, first: int, last: int, split: Path) -> Recipe:
    """The same training for the bare loop, its data written to `split`."""
    config = prepared.config
    model = config["model"]["init_args"]
    optimizer, schedule = model["optimizer"]["init_args"], model["lr_scheduler"]
    conditions = (
        model["path"]["class_path"] == "fmlab.paths.CondOT",
        model["prediction"] == "velocity",
        model["time_sampler"]["class_path"] == "fmlab.objectives.LogitNormal",
        schedule["class_path"] == "fmlab.training.WarmupCosine",
        precision in ("32-true", "bf16-mixed"),
    )
    if not all(conditions):
        raise SystemExit("the bare loop knows flow matching on CondOT, LogitNormal times and WarmupCosine only")
    accelerator = config["trainer"].get("accelerator", "auto")
    torch.save(prepared.data.labelled_images("train"), split)
    return Recipe(
        seed=config["seed_everything"],
        network=model["network"]["class_path"].rpartition(".")[2],
        network_args=model["network"]["init_args"],
        split=str(split),
        batch_size=config["data"]["init_args"]["global_batch_size"],
        flip=config["data"]["init_args"].get("flip", False),
        time_mean=model["time_sampler"]["init_args"]["mean"],
        time_std=model["time_sampler"]["init_args"]["std"],
        label_dropout=model["label_dropout"],
        num_classes=model["num_classes"],
        lr=optimizer["lr"],
        weight_decay=optimizer["weight_decay"],
        warmup_steps=schedule["init_args"]["warmup_steps"],
        clip=config["trainer"]["gradient_clip_val"],
        decay=config["ema"]["decay"],
        autocast=precision == "bf16-mixed",
        device="cuda" if torch.cuda.is_available() and accelerator != "cpu" else "cpu",
        first=first,
        last=last,
    )


def measure(command: list[str], file: Path) -> Measurement:
    """Runs one side in a process of its own."""
    run(command, file)
    return read(file)


def run(command: list[str], file: Path) -> None:
    """Runs a command that writes `file`."""
    file.unlink(missing_ok=True)
    paths = [str(HERE), str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0 or not file.exists():
        raise SystemExit(f"{' '.join(command)}\n{done.stdout}")


def alternate(arguments: argparse.Namespace, argv: list[str], precision: str, folder: Path, file: Path) -> None:
    """One run in which blocks of both sides take turns."""
    arguments_of_watch = {
        "recipe": str(folder / "recipe.json"),
        "first": arguments.warmup,
        "block": arguments.steps,
        "blocks": arguments.pairs,
        "file": str(file),
    }
    watch = {"class_path": "clock_callback.AlternatingCallback", "init_args": arguments_of_watch}
    argv = [*argv, f"--trainer.precision={precision}", f"--trainer.callbacks={json.dumps([watch])}"]
    run([sys.executable, "-m", "fmlab", "fit", *argv], file)
    pairs = json.loads(file.read_text())
    summary = time_summary(*zip(*pairs))
    print(
        f"{arguments.experiment}, {len(pairs)} pairs of blocks of {arguments.steps} steps in one process, {precision}"
    )
    print(text_of_times(summary), flush=True)
    numbers = [str(number) for number in (arguments.warmup, arguments.steps, arguments.pairs)]
    run([sys.executable, str(HERE / "plain_lightning.py"), str(folder / "recipe.json"), *numbers, str(file)], file)
    plain_pairs = json.loads(file.read_text())
    plain = time_summary(*zip(*plain_pairs))
    print(text_of_split(summary, plain))
    if arguments.out is not None:
        settings = {"experiment": arguments.experiment, "precision": precision, "machine": machine()}
        measured = {"pairs": pairs, "summary": summary, "plain_lightning_pairs": plain_pairs, "plain_lightning": plain}
        arguments.out.write_text(json.dumps({**settings, **measured}, indent=1) + "\n")


# What comes out -----------------------------------------------------------------------------------------------------


def summarize(pairs: list[Pair]) -> dict[str, Any]:
    """Medians, and what the goal asks: the cost a step over 1 ms + 1 % of the bare loop's step."""
    fmlab, bare = ([pair[side] for pair in pairs] for side in SIDES)
    same = {measurement.weights for measurement in fmlab + bare}, {measurement.threads for measurement in fmlab + bare}
    if any(len(values) != 1 for values in same):
        raise SystemExit("the two sides did not start from the same weights with the same number of threads")
    typical = [a.median_milliseconds - b.median_milliseconds for a, b in zip(fmlab, bare)]
    return {
        **time_summary([a.milliseconds for a in fmlab], [b.milliseconds for b in bare]),
        "difference_of_typical_steps": statistics.median(typical),
        "memory": {side: statistics.median(pair[side].memory for pair in pairs) for side in SIDES},
        "memory_before": {side: statistics.median(pair[side].memory_before for pair in pairs) for side in SIDES},
        "threads": fmlab[0].threads,
    }


def time_summary(fmlab: Sequence[float], bare: Sequence[float]) -> dict[str, Any]:
    """The same of milliseconds a step alone, pair by pair."""
    differences = [a - b for a, b in zip(fmlab, bare)]
    logs = [math.log(a / b) for a, b in zip(fmlab, bare)]
    step = statistics.median(bare)
    goal = GOAL_MILLISECONDS + GOAL_SHARE * step
    return {
        "milliseconds": {"fmlab": statistics.median(fmlab), "bare": step},
        "ratio": math.exp(statistics.median(logs)),
        "ratio_interval": [math.exp(end) for end in interval(logs)],
        "difference": statistics.median(differences),
        "difference_interval": interval(differences),
        "goal": goal,
        "reached": statistics.median(differences) <= goal,
    }


def interval(values: list[float]) -> list[float]:
    """Student's 95 % interval of the mean; one value has none."""
    if len(values) < 2:
        return [-math.inf, math.inf]
    half = float(student.ppf(0.975, len(values) - 1)) * statistics.stdev(values) / math.sqrt(len(values))
    return [statistics.mean(values) - half, statistics.mean(values) + half]


def line_of(index: int, pair: Pair, first: str) -> str:
    fmlab, bare = (pair[side].milliseconds for side in SIDES)
    return f"{index + 1:>4} {fmlab:14.2f} {bare:13.2f} {fmlab / bare:7.4f} {fmlab - bare:14.2f}  {first}"


def text_of(summary: dict[str, Any]) -> str:
    memory, before = summary["memory"], summary["memory_before"]
    return (
        f"{text_of_times(summary)}\n"
        f"typical     difference of the median steps {summary['difference_of_typical_steps']:.2f} ms\n"
        f"memory      fmlab {memory['fmlab']:.0f} MiB at most, {before['fmlab']:.0f} before the first step; "
        f"bare {memory['bare']:.0f} and {before['bare']:.0f}"
    )


def text_of_times(summary: dict[str, Any]) -> str:
    step = summary["milliseconds"]
    low, high = summary["ratio_interval"]
    least, most = summary["difference_interval"]
    return (
        f"step        fmlab {step['fmlab']:.2f} ms, bare {step['bare']:.2f} ms (medians)\n"
        f"ratio       {summary['ratio']:.4f} (median), 95 % of the mean {low:.4f}..{high:.4f}\n"
        f"difference  {summary['difference']:.2f} ms (median), 95 % of the mean {least:.2f}..{most:.2f}\n"
        f"goal        at most {summary['goal']:.2f} ms: {'reached' if summary['reached'] else 'missed'}"
    )


def text_of_split(summary: dict[str, Any], plain: dict[str, Any]) -> str:
    """How much of the difference a plain module under Lightning's Trainer has too, against the same bare loop."""
    lightning, bare = plain["difference"], plain["milliseconds"]["bare"]
    least, most = plain["difference_interval"]
    return (
        f"Lightning   {lightning:.2f} ms of it (median), 95 % of the mean {least:.2f}..{most:.2f}, bare {bare:.2f} ms\n"
        f"fmlab       {summary['difference'] - lightning:.2f} ms, the rest"
    )


def machine() -> dict[str, Any]:
    """Where this was measured."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"processor": platform.machine(), "cpus": os.cpu_count(), "gpu": gpu, "torch": torch.__version__}


if __name__ == "__main__":
    main()
