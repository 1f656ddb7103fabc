"""What `fmlab submit` and `fmlab sweep --slurm` would hand to SLURM, without one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from helpers.tiny_runs import EXPERIMENTS, TINY

from fmlab.__main__ import main
from fmlab.launch.sweep.ledger import Ledger, Outcome
from fmlab.launch.sweep.owner import SignOfLife
from fmlab.launch.sweep.sweep_file import read_sweep
from fmlab.records import RunLayout, read_status

DIGITS = ["--config", str(EXPERIMENTS / "digits.yaml"), *TINY]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)


def printed(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    capsys.readouterr()
    assert main([*argv, "--dry-run"]) == 0
    return capsys.readouterr().out


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    capsys.readouterr()
    assert main(list(argv)) == 2
    message = capsys.readouterr().err.strip()
    assert len(message.splitlines()) <= 3
    return message


def write_sweep(folder: Path, *flags: str, parameters: str = "  model.path: {values: [CondOT, VP, VE]}") -> Path:
    file = folder / "three.yaml"
    argv = ["${env}", "fmlab", "fit", *DIGITS, *flags, "${args}"]
    head = "program: fmlab\nmethod: grid\nmetric: {name: val/loss, goal: minimize}\n"
    file.write_text(f"{head}parameters:\n{parameters}\ncommand: {json.dumps(argv)}\n")
    return file


def test_a_part_of_an_importable_package_is_trusted_in_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever it lies: a job that may not import it would fail after its night in the queue."""
    plain = printed(capsys, "submit", *DIGITS, "--trainer.devices=1")
    assert 'fit --resume "$run"\n' in plain
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "installed_parts.py").write_text(
        "from fmlab.networks import DiT\nfrom lightning.pytorch import Callback\n\n\n"
        "class Mine(DiT): ...\n\n\nclass Quiet(Callback): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    for part in ("--model.network=installed_parts.Mine", "--trainer.callbacks=[{class_path: installed_parts.Quiet}]"):
        assert 'fit --resume "$run" --trust\n' in printed(capsys, "submit", *DIGITS, "--trainer.devices=1", part)


def test_a_sweep_is_an_array_with_a_task_a_trial(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_sweep(tmp_path)
    (tmp_path / "runs" / "three" / "a-run-of-an-agent").mkdir(parents=True)
    argv = ["sweep", str(file), "--slurm", "--slurm.time", "2:00:00", "--slurm.cpus_per_task", "3"]
    script = printed(capsys, *argv, "--at_once", "2", "--max_restarts", "7")
    for line in (
        "#SBATCH --array=0-2%2",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=1",
        "#SBATCH --cpus-per-task=3",
        "#SBATCH --time=2:00:00",
        "#SBATCH --requeue",
        "export FMLAB_MAX_RESTARTS=7",
    ):
        assert line in script.splitlines()
    assert "gpu" not in script, "the file says accelerator=cpu"
    assert script.splitlines()[-1].endswith(f"three.yaml --dir {tmp_path}/runs --worker --trials=1")
    assert len(list((tmp_path / "runs" / "three").iterdir())) == 1, "nothing is begun"


def test_the_largest_trial_says_what_a_task_gets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The processes of a trial are started by the trial itself, within its task."""
    file = write_sweep(tmp_path, parameters="  trainer.devices: {values: [1, 2]}")
    file.write_text(file.read_text().replace("--trainer.accelerator=cpu", "--trainer.accelerator=auto"))
    lines = printed(capsys, "sweep", str(file), "--slurm", "--trials", "1").splitlines()
    assert {"#SBATCH --gres=gpu:2", "#SBATCH --cpus-per-task=8", "#SBATCH --ntasks-per-node=1"} <= set(lines)
    assert "export OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}" in lines, "each process has its own share"
    assert [line for line in lines if line.startswith("export SRUN_CPUS_PER_TASK=8 ")]
    assert not [line for line in lines if "--array" in line], "one trial is no array"


def test_a_printed_script_is_of_what_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_sweep(tmp_path)
    ledger = Ledger.begin(read_sweep(file), tmp_path / "runs" / "three")
    with SignOfLife(tmp_path / "workers") as owner:
        claim = ledger.claim(owner)
        assert claim is not None
        ledger.finish(claim, owner, Outcome("done", 1.0))
    assert "#SBATCH --array=0-1" in printed(capsys, "sweep", str(file), "--slurm").splitlines()
    fewer = printed(capsys, "sweep", str(file), "--slurm", "--trials", "1")
    assert "#SBATCH --array=0-1" in fewer.splitlines(), "those that were begun are still to be run"


def test_a_sweep_whose_trials_have_ended_is_not_submitted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_sweep(tmp_path)
    ledger = Ledger.begin(read_sweep(file), tmp_path / "runs" / "three")
    with SignOfLife(tmp_path / "workers") as owner:
        while (claim := ledger.claim(owner)) is not None:
            ledger.finish(claim, owner, Outcome("done", 1.0))
    message = printed(capsys, "sweep", str(file), "--slurm")
    assert message.startswith("three: all 3 trials have ended")
    assert "#SBATCH" not in message


def test_programs_of_ones_own_get_a_gpu_if_a_kind_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(
        'program: x.py\nmethod: grid\nparameters: {x: {values: [1, 2]}}\ncommand: [python, x.py, "${args}"]\n'
    )
    assert "gres" not in printed(capsys, "sweep", str(file), "--slurm")
    assert "--gres=gpu:a100:1" in printed(capsys, "sweep", str(file), "--slurm", "--slurm.gpu", "a100")


def test_data_that_cannot_be_had_are_missed_before_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_sweep(tmp_path, "--data=FashionMNIST", f"--data.root={tmp_path}")
    monkeypatch.setattr("fmlab.data.FashionMNIST._download", lambda self: (_ for _ in ()).throw(OSError("no network")))
    assert "could not be downloaded" in refused(capsys, "sweep", str(file), "--slurm")
    assert "could not be downloaded" in refused(capsys, "sweep", str(file))
    assert not (tmp_path / "runs").exists(), "no trial has failed for it"


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        ("--dryrun", "--dry-run"),
        ("--aray 3", "--array"),
        ("--max_restart=2", "--max_restarts"),
        ("--afer 7", "--after"),
    ],
)
def test_a_misspelt_option_of_submit_is_no_key_of_the_configuration(
    argv: str, hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(capsys, "submit", "--config", "experiments/digits.yaml", *argv.split())
    assert message.startswith(f"error: {argv.split()[0].partition('=')[0]}: fmlab submit has no such option")
    assert hint in message


def test_what_no_task_can_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    several = write_sweep(tmp_path, "--trainer.num_nodes=2", "--trainer.devices=1", "--trainer.strategy=ddp")
    assert "a trial runs on one machine" in refused(capsys, "sweep", str(several), "--slurm", "--dry-run")
    file = str(write_sweep(tmp_path))
    alone = ("--slurm.time 1:00:00", "--dry-run", "--at_once 2", "--cluster x.yaml", "--max_restarts 0")
    for argv in map(str.split, alone):
        assert "is for --slurm" in refused(capsys, "sweep", file, *argv)
    assert "did you mean" in refused(capsys, "sweep", file, "--slurm", "--slurm.partitoin", "x")


@pytest.mark.parametrize("section", ['name: "a\\nb"', 'dir: "a\\nb"', ""])
def test_a_line_break_is_refused_before_anything_is_written(
    section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the run's name, in its folder, and in the folder in which the command is typed."""
    folder = tmp_path / ("plain" if section else "a\nb")
    folder.mkdir()
    (tmp_path / "more.yaml").write_text(f"run: {{{section}}}\n")
    monkeypatch.chdir(folder)
    argv = [*DIGITS, "--config", str(tmp_path / "more.yaml"), "--trainer.devices=1"]
    assert "line break" in refused(capsys, "submit", *argv)
    assert list(folder.iterdir()) == []


def test_a_script_holds_no_credential(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    script = printed(capsys, "submit", *DIGITS, "--trainer.devices=1", "--run.tags=[0123456789abcdef]")
    assert "0123456789abcdef" not in script
    assert "<WANDB_API_KEY>" in script
    assert 'fit --resume "$run" --trust' in script, "to read it from its environment"
    message = refused(capsys, "submit", *DIGITS, "--trainer.devices=1", "--run.tags=[hf_0123456789abcdefghij]")
    assert message.startswith("error: run.tags[0]: is a credential, which no record keeps")


def test_what_a_cluster_runs_is_exact_and_for_its_owner_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster's lines of setup, a sweep's file and the code may hold keys, which a waiting job needs."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sbatch").write_text("#!/bin/sh\necho 17\n")
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    (tmp_path / "cluster.yaml").write_text("setup: [export WANDB_API_KEY=0123456789abcdef]\n")
    file = write_sweep(tmp_path, "--run.tags=[hf_0123456789abcdefghij]")
    assert main(["sweep", str(file), "--slurm"]) == 0
    assert main(["submit", *DIGITS, "--trainer.devices=1"]) == 0
    (copied,) = tmp_path.glob("runs/three/.sweep/slurm-0/three.yaml")
    assert copied.read_text() == file.read_text()
    assert copied.parent.stat().st_mode & 0o777 == 0o700
    scripts = [copied.parent / "submit.sbatch", *tmp_path.glob("runs/digits/*/submit.sbatch")]
    for private in (copied, *scripts):
        assert private.stat().st_mode & 0o777 == 0o600
    assert ["WANDB_API_KEY=0123456789abcdef" in script.read_text() for script in scripts] == [True, True]
    for code in (copied.parent / "code", *tmp_path.glob("runs/digits/*/code")):
        assert code.stat().st_mode & 0o777 == 0o700


def test_a_run_that_was_not_taken_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No job will ever begin it: it must not look as if it waited."""
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "sbatch").write_text("#!/bin/sh\necho 'sbatch: error: invalid partition' >&2\nexit 1\n")
    (folder / "sbatch").chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", str(folder), prepend=":")
        assert "invalid partition" in refused(capsys, "submit", *DIGITS, "--trainer.devices=1")
    (run,) = Path("runs/digits").iterdir()
    status = read_status(RunLayout(run))
    assert (status.state, status.step) == ("failed", 0)
    assert "not submitted" in str(status.error)
    assert main(["runs", "digits"]) == 0
    assert "failed" in capsys.readouterr().out
    assert "did you mean digits?" in refused(capsys, "runs", "digit")


def test_a_command_that_is_not_checked_is_said_to_be_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_python = write_sweep(tmp_path, parameters="  model.path: {values: [CondOT, Cosin]}")
    by_python.write_text(by_python.read_text().replace('"fmlab"', '"python", "-m", "fmlab"'))
    assert "did you mean Cosine?" in refused(capsys, "sweep", str(by_python), "--check")
    own = tmp_path / "own.yaml"
    own.write_text('program: x.py\nmethod: grid\nparameters: {x: {values: [1]}}\ncommand: [python, x.py, "${args}"]\n')
    assert main(["sweep", str(own), "--check"]) == 0
    assert "was not checked" in capsys.readouterr().out
