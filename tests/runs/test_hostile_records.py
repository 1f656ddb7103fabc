"""No verb that reads a run does what a hostile record of it asks for."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from helpers.hostile import DOCUMENTS, EVIL, Watch, dump, nodes, positions, put, snapshot
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fmlab.__main__ import main
from fmlab.records import RunLayout

VERBS = [
    ["sample", "RUN", "--num_samples=2", "--steps=2"],
    ["evaluate", "RUN", "--metrics=energy", "--num_samples=40", "--steps=2"],
    ["diagnose", "RUN", "--num_samples=20"],
    ["export", "RUN", "--to=OUT/exported.safetensors"],
    ["validate", "RUN"],
    ["fit", "--resume", "RUN"],
    ["compare", "RUN", "--out=OUT/page.html", "--overwrite"],
    ["runs"],
    ["draw", "trajectories", "RUN", "--num_samples=4", "--steps=4", "--out=OUT/picture.png"],
]
RECORDS = ["config.yaml", "config.raw.yaml", "meta.json", "status.json", "metrics.csv", "command.txt"]
TARGETS = ["outside/kept.txt", "outside", "outside/new", "/dev/zero", "/dev/null", "/etc/passwd", "."]

Change = Callable[[RunLayout], None]


def with_value(draw: Callable[..., Any], config: Any) -> Change:
    """One value of the configuration, in both of its files, is another."""
    position, value = draw(st.sampled_from(list(positions(config)))), draw(nodes())

    def change(run: RunLayout) -> None:
        for file in (run.config, run.raw_config):
            tree = yaml.safe_load(file.read_text())
            if position in set(positions(tree)):
                file.write_text(dump(put(tree, position, value)))

    return change


def with_document(draw: Callable[..., Any]) -> Change:
    """One file of the record has another text."""
    name, text = draw(st.sampled_from(RECORDS)), draw(st.one_of(st.sampled_from(DOCUMENTS), st.text(max_size=200)))
    return lambda run: (run.root / name).write_text(text, encoding="utf-8", errors="surrogatepass") and None


def with_link(draw: Callable[..., Any]) -> Change:
    """One file or folder of the run is a link."""
    name = draw(st.sampled_from([*RECORDS, "samples", "checkpoints", "checkpoints/last.ckpt", "files", "evaluations"]))
    target = draw(st.sampled_from(TARGETS))

    def change(run: RunLayout) -> None:
        path = run.root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        path.symlink_to(target if target.startswith("/") else run.root.parents[2] / target)

    return change


def with_bytes(draw: Callable[..., Any]) -> Change:
    """One file of the run, checkpoints among them, begins with other bytes, or is longer."""
    name = draw(st.sampled_from([*RECORDS, "checkpoints/last.ckpt", "checkpoints/best.ckpt"]))
    start, end = draw(st.binary(max_size=40)), draw(st.sampled_from([b"", b"\x00" * 1_000_000, b"PK\x05\x06"]))

    def change(run: RunLayout) -> None:
        path = run.root / name
        content = path.read_bytes() if path.is_file() else b""
        path.write_bytes(start + content[len(start) :] + end)

    return change


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> RunLayout:
    """A finished run on points, four steps long."""
    folder = tmp_path_factory.mktemp("original")
    experiment = Path(__file__).parents[2] / "experiments/toy2d.yaml"
    argv = ["--trainer.max_steps=4", "--trainer.val_check_interval=2", "--fid.num_samples=20", "--fid.steps=2"]
    argv += ["--samples.points=20", "--samples.steps=2", "--data.train_size=240", "--data.validation_size=60"]
    argv += [
        "--data.global_batch_size=60",
        "--wandb.mode=disabled",
        "--floor.enabled=false",
        "--model.network.width=16",
    ]
    argv += [f"--run.dir={folder}", "--checkpoint.every_n_steps=2"]
    assert main(["fit", f"--config={experiment}", *argv]) == 0
    (run,) = (folder / "toy2d").iterdir()
    return RunLayout(run)


def answer(
    change: Change, verb: list[str], original: RunLayout, folder: Path, watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Runs a verb on a changed copy of the run and asks for a good answer and no harm."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "outside").mkdir(parents=True)
    (folder / "out").mkdir()
    (folder / "outside/kept.txt").write_text("kept")
    run = RunLayout(Path(shutil.copytree(original.root, folder / "runs/toy2d" / original.id)))
    for position in (folder, run.root):
        (position / "evil.py").write_text(EVIL)
        (position / "evil.json").write_text('{"class_path": "evil.E"}')
    change(run)
    os.chdir(folder)
    before = {name: entry for name, entry in snapshot(folder).items() if not name.startswith(("runs", "out/"))}
    capsys.readouterr()
    argv = [word.replace("RUN", str(run.root)).replace("OUT", str(folder / "out")) for word in verb]
    with watch.watching(seconds=20):
        code = main(argv)
    error = capsys.readouterr().err.splitlines()
    after = {name: entry for name, entry in snapshot(folder).items() if not name.startswith(("runs", "out/"))}
    del before["out"], after["out"]
    assert code in (0, 1, 2)
    if code:
        assert 1 <= len([line for line in error if line.strip()]) <= 3, error
    assert watch.deeds == []
    assert "evil" not in sys.modules
    assert after == before
    assert (folder / "outside/kept.txt").read_text() == "kept"


@pytest.mark.slow
@settings(
    max_examples=int(os.environ.get("HOSTILE_EXAMPLES", "60")),
    deadline=None,
    derandomize="HOSTILE_EXAMPLES" not in os.environ,
    suppress_health_check=list(HealthCheck),
)
@given(data=st.data())
def test_a_hostile_record_does_no_harm(
    data: st.DataObject,
    original: RunLayout,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    watch: Watch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It imports nothing, starts no program, writes nothing outside the run, and soon gets a short answer."""
    folder = tmp_path_factory.getbasetemp() / "hostile"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "out/cache"))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry and "hostile" not in entry])
    config = yaml.safe_load(original.config.read_text())
    kind = data.draw(st.sampled_from(["value", "value", "value", "document", "link", "bytes"]))
    change = {
        "value": lambda: with_value(data.draw, config),
        "document": lambda: with_document(data.draw),
        "link": lambda: with_link(data.draw),
        "bytes": lambda: with_bytes(data.draw),
    }[kind]()
    answer(change, data.draw(st.sampled_from(VERBS)), original, folder, watch, capsys)
