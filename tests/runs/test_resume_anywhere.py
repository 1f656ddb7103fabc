"""A run goes on from any of its checkpoints, and from wherever a signal stopped it, as if nothing had happened."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from helpers.compare_runs import assert_same_end, numbers
from helpers.tiny_runs import newest

from fmlab.__main__ import main
from fmlab.launch.slurm.client import INTERRUPTED, PREEMPTED
from fmlab.records import RunLayout, read_status

Fit = Callable[..., RunLayout]

# Two batches a step, five steps an epoch, so that 12 steps end in the third epoch; validations after steps 3, 6, 9, 12
# or, at the end of epochs, 5 and 10; everything that keeps a state or draws numbers is on.
STEPS = 12
MIXED = [
    "--data.limit=150",
    "--data.global_batch_size=30",
    "--data.flip=true",
    "--trainer.accumulate_grad_batches=2",
    "--trainer.log_every_n_steps=2",
    "--model.network.dropout=0.2",
    "--model.time_sampler=Uniform",  # so that no bin of t is without a sample between two reports
    "--ema.decay=[0.9,0.99]",
    "--power_ema.snapshots=4",
    "--fid.batch_size=7",
    "--floor.num_samples=40",
    "--floor.batch_size=20",
]


def acting(callback: str, **arguments: object) -> str:
    inside = ", ".join(f"{key}: {value}" for key, value in arguments.items())
    return f"--trainer.callbacks=[{{class_path: helpers.acting.{callback}, init_args: {{{inside}}}}}]"


@pytest.fixture(params=[3, 5], ids=["in_epochs", "at_their_ends"])
def validate(request: pytest.FixtureRequest) -> int:
    return request.param


@pytest.fixture
def whole(fit: Fit, validate: int) -> RunLayout:
    keep = acting("KeepEvery")
    return fit(*MIXED, "--checkpoint.every_n_steps=1", keep, steps=STEPS, validate=validate)


def resumed_from(whole: RunLayout, checkpoint: Path, folder: Path) -> RunLayout:
    """The run as it was when that checkpoint was the newest, resumed to its end."""
    run = RunLayout(shutil.copytree(whole.root, folder / "digits" / checkpoint.stem))
    for file in run.checkpoints.iterdir():
        file.unlink()
    shutil.copy(checkpoint, run.last)
    for directory in (run.samples, run.power_averages):  # what a kill leaves of a file it interrupted
        (directory / ".torn.fmlab-0123456789abcdef.tmp").touch()
    best = torch.load(checkpoint, weights_only=True)["callbacks"]["Checkpoints"]["best_step"]
    if best:
        shutil.copy(whole.root / "kept" / f"best-{best}.ckpt", run.best)
    assert main(["fit", "--resume", str(run.root), "--trainer.callbacks=null", "--trust"]) == 0
    return run


def check_checkpoints(whole: RunLayout, names: list[str], folder: Path) -> None:
    for name in names:
        run = resumed_from(whole, whole.root / "kept" / f"{name}.ckpt", folder)
        assert_same_end(whole, run)


def test_a_run_goes_on_from_its_checkpoints(whole: RunLayout, tmp_path: Path, validate: int) -> None:
    names = {3: ["last-6", "best-3", "last-12"], 5: ["last-5"]}[validate]
    check_checkpoints(whole, names, tmp_path)


@pytest.mark.slow
def test_a_run_goes_on_from_every_checkpoint(whole: RunLayout, tmp_path: Path) -> None:
    names = sorted(file.stem for file in (whole.root / "kept").iterdir())
    assert len(names) > STEPS
    check_checkpoints(whole, names, tmp_path)


MOMENTS = [
    ("SIGUSR1", 4, "batch"),
    ("SIGTERM", 5, "batch"),
    ("SIGUSR1", 6, "validation"),
    ("SIGINT", 6, "generation"),
    ("SIGTERM", 6, "validated"),
]


@pytest.mark.parametrize(("name", "step", "moment"), MOMENTS, ids=[f"{m[0]}_{m[2]}" for m in MOMENTS])
def test_a_signal_costs_no_step(
    fit: Fit, tmp_path: Path, name: str, step: int, moment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """No checkpoint is due before the end, so what is there was written because of the signal."""
    often = "--checkpoint.every_n_steps=100"
    whole = fit(*MIXED, often, steps=8, validate=3)
    argv = [*MIXED, often, acting("Signal", name=name, step=step, moment=moment), f"--run.dir={tmp_path / 'stopped'}"]
    with pytest.raises(AssertionError):
        fit(*argv, steps=8, validate=3)
    run = newest(tmp_path / "stopped")
    # After a validation there is no place to stop before the end of the next step.
    expected = step + 1 if moment == "validated" else step
    assert torch.load(run.last, weights_only=True)["global_step"] == expected
    status = read_status(run)
    assert (status.state, status.step) == ("interrupted" if name == "SIGINT" else "preempted", expected)
    output = capsys.readouterr().out
    assert f"stopped by {name} at step {expected}" in output
    assert "--resume" in output
    before = numbers(run)
    validations = [row["step"] for row in before if "val/loss" in row]
    assert validations == [2, *([5] if moment == "validated" else [])], "a validation that was not ended left no row"
    assert main(["fit", "--resume", str(run.root), "--trainer.callbacks=null", "--trust"]) == 0
    assert_same_end(whole, run)


def test_a_run_may_be_stopped_again_and_again(fit: Fit, tmp_path: Path) -> None:
    """At the ends of epochs, which have five steps, and after them: the place in the data outlasts every life."""
    whole = fit(*MIXED, steps=STEPS, validate=3)
    stop = acting("Signal", name="SIGTERM", step=5)
    with pytest.raises(AssertionError):
        fit(*MIXED, stop, f"--run.dir={tmp_path / 'stopped'}", steps=STEPS, validate=3)
    run = newest(tmp_path / "stopped")
    for step in (7, 10, 11):
        stop = acting("Signal", name="SIGTERM", step=step)
        assert main(["fit", "--resume", str(run.root), stop, "--trust"]) == PREEMPTED
        assert read_status(run).step == step
    assert main(["fit", "--resume", str(run.root), "--trainer.callbacks=null", "--trust"]) == 0
    assert_same_end(whole, run)


def test_the_exit_code_says_why(fit: Fit, tmp_path: Path) -> None:
    from helpers.tiny_runs import arguments

    for name, code in (("SIGUSR1", PREEMPTED), ("SIGTERM", PREEMPTED), ("SIGINT", INTERRUPTED)):
        argv = arguments(tmp_path / name, acting("Signal", name=name, step=1), validate=100)
        handlers = [signal.getsignal(one) for one in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)]
        assert main(["fit", *argv]) == code
        assert [signal.getsignal(one) for one in (signal.SIGUSR1, signal.SIGTERM, signal.SIGINT)] == handlers


def test_a_second_interrupt_ends_at_once(fit: Fit, tmp_path: Path) -> None:
    from helpers.tiny_runs import arguments

    argv = arguments(tmp_path / "runs", acting("Signal", name="SIGINT", step=1, count=2), validate=100)
    assert main(["fit", *argv]) == INTERRUPTED
    run = newest(tmp_path / "runs")
    assert read_status(run).state == "interrupted"
    assert not run.last.exists(), "nothing was saved from the middle of a step"
