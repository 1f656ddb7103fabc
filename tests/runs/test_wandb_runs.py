"""The real W&B client, its sweeps and its agents against a stand-in for the server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from helpers.sweep_of_two import assert_expected, write_pair
from helpers.tiny_runs import arguments, newest
from helpers.wandb_server import Run, WandbServer

from fmlab.records import RunLayout, read_metrics, read_status

pytestmark = pytest.mark.slow

# The agent of the client, asking five times a second what to do instead of every five seconds.
AGENT = (
    "import sys, wandb.wandb_agent as agent; agent.Agent.POLL_INTERVAL = 0.2;"
    "from wandb.cli.cli import cli; sys.argv[0] = 'wandb'; cli()"
)


def command(*argv: str, server: WandbServer, folder: Path, **given: str) -> subprocess.CompletedProcess[str]:
    """A command whose W&B client talks to the server, in a process of its own and that folder."""
    return subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=1500,
        cwd=folder,
        env=surroundings(server, folder, **given),
        check=False,
    )


def surroundings(server: WandbServer, folder: Path, **given: str) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    variables = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    return {**variables, "PATH": path, **server.environment(folder / "client"), **given}


def test_one_file_sweeps_here_and_through_wandb(tmp_path: Path) -> None:
    file = write_pair(tmp_path)
    here, elsewhere = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    elsewhere.mkdir()
    with WandbServer() as server:
        local = command(
            *(sys.executable, "-m", "fmlab", "sweep", str(file), "--workers", "2"),
            server=server,
            folder=here,
            WANDB_MODE="offline",
        )
        assert local.returncode == 0, local.stdout + local.stderr
        assert server.asked == [], "offline nobody is asked"
        plain = command("wandb", "sweep", str(file), server=server, folder=elsewhere)
        assert "wandb agent local/fmlab/sweep0" in plain.stderr, plain.stderr
        ours = command(sys.executable, "-m", "fmlab", "sweep", str(file), "--wandb", server=server, folder=elsewhere)
        assert "agents     wandb agent local/fmlab/sweep1" in ours.stdout, ours.stdout + ours.stderr
        assert server.sweeps["sweep0"].config == server.sweeps["sweep1"].config
        agent = command(sys.executable, "-c", AGENT, "agent", "local/fmlab/sweep0", server=server, folder=elsewhere)
        assert agent.returncode == 0, agent.stderr
        sent = [server.runs[f"sweep0run{number}"] for number in range(2)]
    local_runs = [RunLayout(path) for path in sorted((here / "runs" / "pair").glob("pair-*"))]
    agents_runs = [RunLayout(path) for path in sorted((elsewhere / "runs" / "pair").iterdir())]
    assert [run.id for run in agents_runs] == [run.name for run in sent], "a record has the name of its page"
    for runs in (local_runs, agents_runs):
        assert [read_status(run).state for run in runs] == ["done", "done"]
        assert_expected(runs)
    for left, right in zip(local_runs, agents_runs):
        assert yaml.safe_load(left.config.read_text()) == yaml.safe_load(right.config.read_text())
        assert read_metrics(left.metrics)[-1]["val/fid_domain"] == read_metrics(right.metrics)[-1]["val/fid_domain"]
    assert_has_all(sent, agents_runs)


def assert_has_all(sent: list[Run], records: list[RunLayout]) -> None:
    """W&B has the whole configuration, the sweep, every metric as recorded, how it was measured, and the pictures."""
    for run, record in zip(sent, records):
        assert (run.project, run.sweep, run.exitcode, run.times_begun) == ("fmlab", "sweep0", 0, 1)
        config = yaml.safe_load(record.config.read_text())
        for section in ("model", "data", "trainer", "fid"):
            assert run.config[section]["value"] == config[section], section
        assert json.loads(record.meta.read_text())["sweep"] == {"sweep": "sweep0", "trial": run.name}
        measured = json.loads((record.root / "measurement.json").read_text())
        assert run.config["measurement"]["value"] == measured["measurement"]
        for name in ("val/fid_domain", "val/loss", "train/loss"):
            recorded = [row[name] for row in read_metrics(record.metrics) if name in row]
            assert run.logged(name) == pytest.approx(recorded, rel=1e-6), name
            assert recorded, name
        pictures = [content for name, content in run.files.items() if name.startswith("media/images/samples")]
        assert len(pictures) == 2
        assert all(picture.startswith(b"\x89PNG") for picture in pictures)


def test_two_processes_are_one_wandb_run(tmp_path: Path) -> None:
    argv = [word for word in arguments(tmp_path / "runs", steps=2) if "wandb" not in word]
    two = ["--trainer.devices=2", "--trainer.strategy=ddp"]
    with WandbServer() as server:
        ended = command(sys.executable, "-m", "fmlab", "fit", *argv, *two, server=server, folder=tmp_path)
        assert ended.returncode == 0, ended.stdout + ended.stderr
        (run,) = server.runs.values()
    record = newest(tmp_path / "runs")
    assert (run.name, run.times_begun, run.exitcode) == (record.id, 1, 0)
    recorded = [row["val/loss"] for row in read_metrics(record.metrics) if "val/loss" in row]
    assert run.logged("val/loss") == pytest.approx(recorded, rel=1e-6)


STEPS = """\
import json, sys, time
from pathlib import Path
from fmlab.training.loggers import make_wandb
from fmlab.config.schema import WandbOptions
from fmlab.records import new_run
import wandb

layout = new_run(Path(sys.argv[1]), "x", sys.argv[2])
(logger,) = make_wandb(WandbOptions(mode="online"), layout, [], {"lr": 1e-4})
waited = 0.0
for step in range(100):
    began = time.perf_counter()
    logger.log_metrics({"loss": step}, step)
    waited += time.perf_counter() - began
    time.sleep(0.02)
began = time.perf_counter()
logger.finalize("success")
print(json.dumps([waited, time.perf_counter() - began]))
"""
CASES = ("fine", "slow", "down", "broken", "hanging", "goes away")


def test_a_server_out_of_order_costs_training_nothing(tmp_path: Path) -> None:
    """No step waits for it, the end waits for seconds, and nothing is lost: it is synced later."""
    servers = {case: WandbServer().__enter__() for case in CASES}
    servers["slow"].delay = 2.0
    servers["broken"].broken = servers["hanging"].hanging = True
    running = {}
    for case, server in servers.items():
        folder = tmp_path / case.split()[0]
        folder.mkdir()
        if case == "down":
            server.stop()
        running[case] = subprocess.Popen(
            [sys.executable, "-c", STEPS, str(folder), case.split()[0]],
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=surroundings(server, folder),
        )
    try:
        wait_for(lambda: bool(servers["goes away"].runs))
        servers["goes away"].stop()
        for case, process in running.items():
            output, _ = process.communicate(timeout=900)
            assert process.returncode == 0, case
            waited, end = json.loads(output.splitlines()[-1])
            assert waited < 2.0, f"{case}: a hundred calls took {waited} s"
            assert end < 180, f"{case}: the end waited {end} s"
    finally:
        for case, server in servers.items():
            running[case].kill()
            if case not in ("down", "goes away"):
                server.stop()
    assert servers["fine"].runs["fine"].logged("loss") == list(range(100))
    with WandbServer() as server:
        for case in CASES:
            word = case.split()[0]
            if word in servers[case].runs and servers[case].runs[word].exitcode == 0:
                assert servers[case].runs[word].logged("loss") == list(range(100)), case
                continue
            places = [str(path) for path in tmp_path.glob(f"{word}/x/*/wandb/*run-*") if any(path.glob("*.wandb"))]
            targets = [path for path in places if "offline" in path] or ["--include-online", *places]
            synced = command("wandb", "sync", *targets, server=server, folder=tmp_path / word)
            assert synced.returncode == 0, synced.stderr
            assert server.runs[word].logged("loss") == list(range(100)), case
        assert len(server.runs) >= 4, "what was down, broken, hanging or gone was kept"


def wait_for(condition: Callable[[], bool], seconds: float = 900) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_interrupted_offline_run_is_synced_as_one(tmp_path: Path) -> None:
    extra = ["--checkpoint.every_n_steps=5", "--trainer.log_every_n_steps=1", "--floor.enabled=false"]
    argv = arguments(tmp_path / "runs", *extra, "--wandb.mode=offline", steps=3000, validate=3000)
    with WandbServer() as server:
        given = surroundings(server, tmp_path)
        process = subprocess.Popen(
            [sys.executable, "-m", "fmlab", "fit", *argv], stdout=subprocess.DEVNULL, cwd=tmp_path, env=given
        )
        wait_for(lambda: any(len(read_metrics(file)) > 12 for file in tmp_path.glob("runs/digits/*/metrics.csv")))
        process.send_signal(signal.SIGTERM)
        process.wait(600)
        run = newest(tmp_path / "runs")
        stopped = max(int(row["step"]) for row in read_metrics(run.metrics))
        until = stopped + 12
        more = [f"--trainer.max_steps={until}", f"--trainer.val_check_interval={until}"]
        resumed = command(
            *(sys.executable, "-m", "fmlab", "fit", "--resume", str(run.root), *more), server=server, folder=tmp_path
        )
        assert resumed.returncode == 0, resumed.stdout + resumed.stderr
        assert server.runs == {}
        segments = sorted(str(path) for path in run.root.glob("wandb/offline-run-*"))
        assert len(segments) == 2
        synced = command("wandb", "sync", *segments, server=server, folder=tmp_path)
        assert synced.returncode == 0, synced.stderr
        (sent,) = server.runs.values()
    assert sent.name == run.id
    steps = Counter(int(row["trainer/global_step"]) for row in sent.history.values() if "train/loss" in row)
    recorded = {int(row["step"]): row["train/loss"] for row in read_metrics(run.metrics) if "train/loss" in row}
    assert set(steps) == set(recorded) == set(range(until)), "no gap"
    twice = sorted(step for step, count in steps.items() if count > 1)
    assert twice == list(range(twice[0], stopped + 1)) if twice else True, "what was trained again is there twice"
    assert max(steps.values()) <= 2
    in_order = [row for _, row in sorted(sent.history.items()) if "train/loss" in row]
    last = {int(row["trainer/global_step"]): row["train/loss"] for row in in_order}
    assert last == pytest.approx(recorded, rel=1e-6), "the later of two values is the record's"
