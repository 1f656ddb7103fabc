"""What is typed at `--resume` is used and recorded, or refused in one line; the next resume continues from it."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from helpers.compare_runs import assert_identical, final_state
from helpers.tiny_runs import arguments, fit_main, newest

from fmlab.__main__ import main
from fmlab.comparison.groups import compare
from fmlab.records import RunLayout, read_metrics, read_status
from fmlab.records.starts import read_starts

COSINE = ["--model.lr_scheduler=CosineAnnealingLR", "--model.lr_scheduler.T_max=4"]
ONE_CYCLE = ["--model.lr_scheduler=OneCycleLR", "--model.lr_scheduler.max_lr=0.01"]
ONE_CYCLE += ["--model.lr_scheduler.total_steps=4"]
FAST = ["--fid.enabled=false", "--floor.enabled=false", "--samples.enabled=false", "--trainer.log_every_n_steps=1"]
MILESTONES = ["--model.lr_scheduler=MultiStepLR", "--model.lr_scheduler.milestones=[20]"]
BASES = {
    "": ["--model.lr_scheduler=null"],
    "milestones": MILESTONES,
    "long cycle": [*ONE_CYCLE[:2], "--model.lr_scheduler.total_steps=8"],
    "cosine": COSINE,
    "one cycle": ONE_CYCLE,
    "as long as the run": ["--model.lr_scheduler.warmup_steps=1"],
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunLayout]:
    """Runs of four steps, by what is their schedule."""
    runs = {}
    for name, extra in BASES.items():
        folder = tmp_path_factory.mktemp("base")
        assert fit_main(arguments(folder, *FAST, *extra)) == 0
        runs[name] = newest(folder)
    return runs


def copy_of(run: RunLayout, folder: Path) -> RunLayout:
    root = Path(shutil.copytree(run.root, folder / "runs" / "digits" / run.id))
    for file in (root / "config.yaml", root / "config.raw.yaml"):
        file.write_text(file.read_text().replace(str(run.root.parents[1]), str(folder / "runs")))
    return RunLayout(root)


def resume(run: RunLayout, *overrides: str) -> int:
    return main(["fit", "--resume", str(run.root), *overrides])


def snapshot(run: RunLayout) -> dict[str, bytes]:
    files = [file for file in sorted(run.root.rglob("*")) if file.is_file() and file != run.lock]
    return {str(file.relative_to(run.root)): file.read_bytes() for file in files}


USED = [
    ("", "data.global_batch_size", "32"),
    ("", "seed_everything", "7"),
    ("", "model.path", "VP"),
    ("", "model.prediction", "noise"),
    ("", "model.loss", "PseudoHuber"),
    ("", "model.time_sampler", "Uniform"),
    ("", "model.label_dropout", "0.5"),
    ("", "model.optimizer.lr", "0.01"),
    ("", "model.optimizer.weight_decay", "0.3"),
    ("", "model.optimizer.betas", "[0.5,0.9]"),
    ("", "model.network.dropout", "0.2"),
    ("", "trainer.precision", "bf16-mixed"),
    ("", "trainer.gradient_clip_val", "0.01"),
    ("", "trainer.accumulate_grad_batches", "2"),
    ("", "ema.warmup", "false"),
    ("", "checkpoint.every_n_steps", "1"),
    ("", "model.lr_scheduler", "{class_path: WarmupConstant, init_args: {warmup_steps: 6}}"),
    ("cosine", "model.lr_scheduler.T_max", "8"),
    ("one cycle", "model.lr_scheduler.total_steps", "8"),
    ("as long as the run", "model.lr_scheduler.warmup_steps", "6"),
]
REFUSED = [
    ("", "model.network.width", "32"),
    ("", "model.network.depth", "2"),
    ("", "model.network", "UNet"),
    ("", "model.optimizer", "SGD"),
    ("", "model.weight_decay_on", "matrices"),
    ("", "ema.decay", "[0.5]"),
    ("", "power_ema", "{snapshots: 2}"),
    ("", "run.name", "other"),
    ("", "run.dir", "elsewhere"),
    ("", "trainer.max_steps", "2"),
    ("", "data.global_batch_size", "100000"),
    ("", "checkpoint.monitor", "val/fidd"),
    ("", "model.optimizer", "{init_args: {lr: .nan}}"),
    ("", "seed_everything", "-1"),
    ("", "seed_everything", "99999999999"),
    ("cosine", "model.lr_scheduler.T_max", ""),
    ("one cycle", "model.lr_scheduler.total_steps", ""),
]


@pytest.mark.parametrize(("base", "key", "value"), USED, ids=[f"{key}={value}" for _, key, value in USED])
def test_what_is_typed_at_a_resume_is_used_and_recorded(
    base: str, key: str, value: str, bases: dict[str, RunLayout], tmp_path: Path
) -> None:
    run, word = copy_of(bases[base], tmp_path), f"--{key}={value}"
    before = final_state(run)
    assert resume(run, "--trainer.max_steps=8", word) == 0
    assert read_status(run).state == "done"
    assert [start.step for start in read_starts(run)] == [0, 4]
    last = read_starts(run)[-1]
    assert word in last.command
    assert last.config == yaml.safe_load(run.config.read_text()), "the latest start is what the run is"
    after = final_state(run)
    assert after["global_step"] == 8
    plain = copy_of(bases[base], tmp_path / "plain")
    if base not in ("cosine", "one cycle"):
        assert resume(plain, "--trainer.max_steps=8") == 0
        weights = final_state(plain)["state_dict"]
        differs = any(not weights[name].equal(after["state_dict"][name]) for name in weights)
        assert differs != key.startswith(("checkpoint.", "ema.")), "what changes the training reaches it"
    assert before["global_step"] == 4
    if key not in ("checkpoint.every_n_steps",):
        labels = [group.label for group in compare([str(run.root), str(bases[base].root)]).groups]
        assert any("changed=at step 4: model.lr_scheduler" in label or f"at step 4: {key}" in label for label in labels)


@pytest.mark.parametrize(("base", "key", "value"), REFUSED, ids=[f"{key}={value}" for _, key, value in REFUSED])
def test_what_cannot_be_used_at_a_resume_is_refused_and_leaves_the_run_as_it_was(
    base: str, key: str, value: str, bases: dict[str, RunLayout], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = copy_of(bases[base], tmp_path)
    before = snapshot(run)
    overrides = [f"--{key}={value}"] if value else []
    if key != "trainer.max_steps":
        overrides.insert(0, "--trainer.max_steps=8")
    assert resume(run, *overrides) == 2
    message = capfd.readouterr().err.strip()
    (line,) = [line for line in message.splitlines() if line.startswith("error: ")]
    assert key in line
    assert "Traceback" not in message
    after = snapshot(run)
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == set()


@pytest.mark.parametrize(
    ("key", "value", "group"),
    [("model.optimizer.lr", 0.01, "lr"), ("model.optimizer.weight_decay", 0.3, "weight_decay")],
    ids=["lr", "weight_decay"],
)
def test_new_options_reach_the_restored_optimizer(
    key: str, value: float, group: str, bases: dict[str, RunLayout], tmp_path: Path
) -> None:
    for index, base in enumerate(("", "as long as the run")):
        run = copy_of(bases[base], tmp_path / str(index))
        assert resume(run, "--trainer.max_steps=8", f"--{key}={value}") == 0
        (options,) = final_state(run)["optimizer_states"][0]["param_groups"]
        assert options["initial_lr" if group == "lr" and index else group] == value
    rates = {row["step"]: row["train/lr"] for row in read_metrics(run.metrics) if "train/lr" in row}
    straight = tmp_path / "straight"
    assert fit_main(arguments(straight, *FAST, *BASES[base], f"--{key}={value}", steps=8)) == 0
    expected = {row["step"]: row["train/lr"] for row in read_metrics(newest(straight).metrics) if "train/lr" in row}
    assert [rates[step] for step in range(4, 8)] == [expected[step] for step in range(4, 8)]


@pytest.mark.parametrize(
    ("base", "argument"),
    [
        ("cosine", "T_max=8"),
        ("one cycle", "total_steps=8"),
        ("long cycle", "pct_start=0.8"),
        ("long cycle", "final_div_factor=10"),
        ("milestones", "milestones=[6]"),
    ],
)
def test_a_schedule_of_torch_follows_a_prolonged_run(
    base: str, argument: str, bases: dict[str, RunLayout], tmp_path: Path
) -> None:
    run, override = copy_of(bases[base], tmp_path), f"--model.lr_scheduler.{argument}"
    assert resume(run, "--trainer.max_steps=8", override) == 0
    straight = tmp_path / "straight"
    assert fit_main(arguments(straight, *FAST, *BASES[base], override, steps=8)) == 0
    rates = [
        {row["step"]: row["train/lr"] for row in read_metrics(layout.metrics) if "train/lr" in row}
        for layout in (run, newest(straight))
    ]
    assert [rates[0][step] for step in range(4, 8)] == pytest.approx([rates[1][step] for step in range(4, 8)])


def test_a_folder_from_the_environment_does_not_move_a_run(
    fit: Callable[..., RunLayout], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", str(tmp_path / "here"))
    assert fit_main([*arguments(tmp_path, *FAST), "--run.dir=${oc.env:PLACE}"]) == 0
    monkeypatch.setenv("PLACE", str(tmp_path / "elsewhere"))
    assert main(["fit", "--resume", str(newest(tmp_path / "here").root), "--trust", "--trainer.max_steps=5"]) == 0


def test_the_next_resume_continues_from_the_latest_words(bases: dict[str, RunLayout], tmp_path: Path) -> None:
    run = copy_of(bases[""], tmp_path)
    overrides = ["--trainer.max_steps=6", "--data.global_batch_size=32", "--model.optimizer.lr=0.01"]
    assert resume(run, *overrides) == 0
    assert resume(run, "--trainer.max_steps=8") == 0
    config = yaml.safe_load(run.config.read_text())
    assert config["data"]["init_args"]["global_batch_size"] == 32
    assert config["model"]["init_args"]["optimizer"]["init_args"]["lr"] == 0.01
    assert [start.step for start in read_starts(run)] == [0, 4, 6]
    at_once = copy_of(bases[""], tmp_path / "at once")
    assert resume(at_once, "--trainer.max_steps=8", *overrides[1:]) == 0
    assert_identical(final_state(at_once)["state_dict"], final_state(run)["state_dict"])


def test_a_run_without_a_checkpoint_section_can_be_continued(
    fit: Callable[..., RunLayout], capsys: pytest.CaptureFixture[str]
) -> None:
    run = fit(*FAST, "--checkpoint=null")
    assert "fmlab sample" in capsys.readouterr().out
    assert main(["sample", str(run.root), "--steps", "1", "--num_samples", "1", "--labels", "3"]) == 0
    assert resume(run, "--trainer.max_steps=6") == 0
    assert "from step 4" in capsys.readouterr().out


def test_a_run_that_saved_nothing_gives_no_advice_that_fails_and_is_not_resumed(
    fit: Callable[..., RunLayout], capfd: pytest.CaptureFixture[str]
) -> None:
    run = fit(*FAST, "--checkpoint.enabled=false")
    output = capfd.readouterr().out
    assert "fmlab sample" not in output
    assert "--resume" not in output
    before = snapshot(run)
    assert resume(run, "--trainer.max_steps=6") == 2
    message = capfd.readouterr().err
    assert "nothing was saved" in message
    assert snapshot(run) == before
    assert f"fmlab fit --config {run.config}" in message
    assert main(["fit", "--config", str(run.config)]) == 0


@pytest.mark.parametrize(
    "mistake",
    [
        "--data.global_batch_size=100000",
        "--checkpoint.monitor=val/fidd",
        "--model.optimizer.lr=.nan",
        "--seed_everything=-1",
    ],
)
def test_a_mistake_found_late_leaves_no_newest_run(
    mistake: str, bases: dict[str, RunLayout], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy_of(bases[""], tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["fit", *arguments(tmp_path / "runs", *FAST, mistake)]) == 2
    from fmlab.records import find_run

    assert find_run("digits").id == run.id


@pytest.mark.slow
def test_of_two_resumes_at_once_exactly_one_runs(bases: dict[str, RunLayout], tmp_path: Path) -> None:
    run = copy_of(bases[""], tmp_path)
    for pair in range(10):
        overrides = ["fit", "--resume", str(run.root), f"--trainer.max_steps={8 + 4 * pair}"]
        command = [sys.executable, "-m", "fmlab", *overrides]
        processes = [
            subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)
        ]
        errors = [process.communicate(timeout=300)[1] for process in processes]
        assert sorted(process.returncode for process in processes) == [0, 2], errors
        assert sum("resumed by another process" in error or "is still running" in error for error in errors) == 1
        assert len(read_starts(run)) == pair + 2
        assert read_status(run).state == "done"


def test_the_lock_dies_with_its_process(bases: dict[str, RunLayout], tmp_path: Path) -> None:
    run = copy_of(bases[""], tmp_path)
    code = "import sys, time\nfrom filelock import FileLock\nlock = FileLock(sys.argv[1])\n"
    code += "lock.acquire()\nprint(flush=True)\ntime.sleep(99)"
    holder = subprocess.Popen([sys.executable, "-c", code, str(run.lock)], stdout=subprocess.PIPE)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        began = time.monotonic()
        assert resume(run, "--trainer.max_steps=5") == 2
        assert time.monotonic() - began < 60
    finally:
        holder.kill()
        holder.wait()
    assert resume(run, "--trainer.max_steps=5") == 0
