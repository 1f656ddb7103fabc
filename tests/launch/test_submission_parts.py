"""What a job asks for, the cluster's words, the script, and the copy of the code."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

import fmlab
from fmlab.errors import UserError
from fmlab.launch.slurm.cluster import Cluster, find_cluster_file, limit_seconds, read_cluster
from fmlab.launch.slurm.script import Allocation, Job, Submission, allocation_of, sbatch_options, write_script
from fmlab.launch.slurm.snapshot import copy_code
from fmlab.launch.slurm.submit_runs import choose_run


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        ({"devices": 8, "num_nodes": 2}, Allocation(2, 8, 8)),
        ({"devices": "4", "accelerator": "gpu"}, Allocation(1, 4, 4)),
        ({"devices": [0, 3], "accelerator": "cuda"}, Allocation(1, 2, 2)),
        ({"devices": 2, "accelerator": "cpu"}, Allocation(1, 2, 0)),
    ],
)
def test_the_trainer_says_what_to_ask_for(trainer: dict[str, object], expected: Allocation) -> None:
    assert allocation_of(trainer) == expected


@pytest.mark.parametrize(
    ("trainer", "parts"),
    [
        ({}, ["trainer.devices", "'auto'", "--trainer.devices=8"]),
        ({"devices": "auto"}, ["trainer.devices", "'auto'"]),
        ({"devices": -1}, ["trainer.devices", "-1"]),
        ({"devices": 1, "accelerator": "mps"}, ["trainer.accelerator", "mps"]),
    ],
)
def test_what_only_the_node_would_know_is_refused(trainer: dict[str, object], parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        allocation_of(trainer)
    message = f"{caught.value.key}: {caught.value.message} {caught.value.hint}"
    for word in parts:
        assert word in message


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 5400),
        ("90:30", 5430),
        ("12:00:00", 43200),
        ("2-0", 172800),
        ("1-12:30", 131400),
        ("1-00:00:05", 86405),
    ],
)
def test_time_limits_are_read_as_slurm_reads_them(text: str, seconds: int) -> None:
    assert limit_seconds(text) == seconds


def test_a_file_gives_defaults_and_typed_words_come_over_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    assert find_cluster_file(None) is None
    at_home = tmp_path / "config" / "fmlab" / "cluster.yaml"
    at_home.parent.mkdir(parents=True)
    at_home.write_text("partition: gpu\n")
    assert find_cluster_file(None) == at_home
    here = tmp_path / "cluster.yaml"
    here.write_text("partition: small\ntime: 12:00:00\ncpus_per_task: 8\nmodules: [cuda/12.4, gcc]\naccount: null\n")
    file = find_cluster_file(None)
    assert file is not None
    assert file.resolve() == here.resolve()
    cluster = read_cluster(file, {"time": "30", "options": "[--exclude=a1, --nice]", "mem": "64G"})
    assert cluster == Cluster(
        partition="small",
        time="30",
        cpus_per_task=8,
        mem="64G",
        modules=["cuda/12.4", "gcc"],
        options=["--exclude=a1", "--nice"],
    )
    assert read_cluster(file, {}).time == "12:00:00", "not the number that YAML 1.1 makes of it"
    here.write_text("account: 1e3\nqos: 0123\nmodules: [12.10]\n")
    cluster = read_cluster(here, {"partition": "1e3", "options": "--nice", "gpu": "null"})
    texts = (cluster.account, cluster.qos, cluster.modules, cluster.partition, cluster.options, cluster.gpu)
    assert texts == ("1e3", "0123", ["12.10"], "1e3", ["--nice"], None), "as they were written"
    here.write_text("modules: 12.10\nsetup: source env/bin/activate\n")
    cluster = read_cluster(here, {})
    assert (cluster.modules, cluster.setup) == (["12.10"], ["source env/bin/activate"]), "one word is a list of one"
    assert read_cluster(here, {"modules": "12.20"}).modules == ["12.20"]


@pytest.mark.parametrize(
    ("content", "options", "parts"),
    [
        ("partitoin: gpu", {}, ["partitoin", "partition"]),
        ("", {"tiem": "3"}, ["slurm.tiem", "time"]),
        ("cpus_per_task: many", {}, ["cluster.yaml.cpus_per_task", "expected int", '"many"']),
        ("", {"cpus_per_task": "many"}, ["slurm.cpus_per_task", "expected int", '"many"']),
        ("", {"time": "tomorrow"}, ["slurm.time", "'tomorrow'"]),
        ("", {"time": "1"}, ["slurm.time", "60 s"]),
        ("", {"options": "exclude=a"}, ["slurm.options", "exclude=a"]),
        ("", {"partition": "gpu\ntouch taken"}, ["slurm.partition", "line break"]),
        ("", {"container": "apptainer exec x.sif\ntouch taken"}, ["slurm.container", "line break"]),
        ("", {"modules": "cuda\rtouch taken"}, ["slurm.modules", "line break"]),
        ('options: ["--nice\\n#SBATCH --exclusive"]', {}, ["slurm.options", "line break"]),
        ("partition: [a, b]", {}, ["partition", "expected str"]),
        ("- a", {}, ["`key: value` lines"]),
        ("a: {", {}, ["cluster.yaml:1", "the line reads"]),
    ],
)
def test_mistakes_name_the_word(content: str, options: dict[str, str], parts: list[str], tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_text(content)
    with pytest.raises(UserError) as caught:
        read_cluster(file, options)
    message = f"{caught.value.key}: {caught.value.message} {caught.value.hint}"
    for word in parts:
        assert word in message


CLUSTER = Cluster(partition="gpu", time="12:00:00", gpu="a100", modules=["cuda"], container="apptainer exec x.sif")
FOLDER = Path("/runs/digits/a run")
JOB = Job(
    name="digits",
    folder=FOLDER,
    arguments='fit --resume "$run"',
    allocation=Allocation(2, 8, 8),
    submission=Submission("fmlab submit --config x.yaml", CLUSTER, after=17, max_restarts=3),
    code=[FOLDER / "code" / "own0", FOLDER / "code" / "fmlab"],
    before=choose_run([FOLDER]),
    start_folder=Path("/home/me"),
)


def test_the_script_asks_for_what_the_trainer_uses() -> None:
    options = sbatch_options(JOB)
    for option in (
        "--nodes=2",
        "--ntasks-per-node=8",
        "--gres=gpu:a100:8",
        "--cpus-per-task=4",
        "--partition=gpu",
        "--time=12:00:00",
        "--signal=SIGUSR1@120",
        "--requeue",
        "--open-mode=append",
        "--dependency=afterok:17",
    ):
        assert option in options
    assert not [option for option in options if option.startswith("--array")]
    assert not [
        option for option in sbatch_options(replace(JOB, allocation=Allocation(1, 2, 0))) if "gpu" in option[2:6]
    ]
    assert replace(JOB, allocation=Allocation(1, 1, 8, processes_per_task=8)).cpus_per_task == 32
    several = replace(JOB, tasks=3, submission=Submission(at_once=2))
    assert "--array=0-2%2" in sbatch_options(several)
    assert [option for option in sbatch_options(several) if option.endswith("slurm-%A_%a.out")]


def test_a_path_with_a_space_is_one_word_to_sbatch() -> None:
    (line,) = [line for line in write_script(JOB).splitlines() if "--output" in line]
    assert line == "#SBATCH '--output=/runs/digits/a run/slurm-%j.out'"


@pytest.mark.parametrize(
    "job",
    [replace(JOB, name="a\ntouch taken"), replace(JOB, folder=Path("/runs/a\ntouch taken"))],
    ids=["name", "folder"],
)
def test_an_option_of_sbatch_cannot_hold_a_line_break(job: Job) -> None:
    with pytest.raises(UserError, match="line break"):
        write_script(job)


def test_no_name_becomes_a_line_of_the_script(tmp_path: Path) -> None:
    """Line breaks in typed words, in the run's folder and in the folder of the start run nothing and move nothing."""
    start_folder = tmp_path / "a\ntouch taken"
    start_folder.mkdir()
    typed = "fmlab submit '--note=x\ntouch taken\n#SBATCH --exclusive'"
    submission = Submission(typed, Cluster(setup=["export first=1\nexport second=2"]))
    runs = choose_run([Path("/runs/b\ntouch taken")])
    job = replace(JOB, start_folder=start_folder, submission=submission, before=runs)
    text = write_script(job)
    head = text[: text.index("set -euo pipefail")].splitlines()
    assert [line for line in head if line and not line.startswith("#")] == [], "nothing stands before the options"
    assert "#SBATCH --exclusive" not in head
    (tmp_path / "srun").write_text('#!/bin/bash\nprintf "%s|" "$PWD" "${@: -1}" "$second"\n')
    (tmp_path / "srun").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "1"}
    done = subprocess.run(
        ["bash"], input=text, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{start_folder}|/runs/b\ntouch taken|2|"
    assert not list(tmp_path.rglob("taken"))


def test_a_percent_sign_in_a_folder_is_no_pattern_of_sbatch() -> None:
    options = sbatch_options(replace(JOB, folder=Path("/runs/100%j")))
    assert "--output=/runs/100%%j/slurm-%j.out" in options


def test_the_script_is_bash_and_takes_its_run(tmp_path: Path) -> None:
    """With a `srun` that prints what it is given: the array's task chooses the run, spaces in names included."""
    (tmp_path / "srun").write_text(
        '#!/bin/bash\nprintf "%s|" "$@" "$PYTHONPATH" "$FMLAB_MAX_RESTARTS" "$MASTER_PORT"\nexit 7\n'
    )
    (tmp_path / "module").write_text("#!/bin/bash\n")
    for file in ("srun", "module"):
        (tmp_path / file).chmod(0o755)
    submission = Submission(cluster=Cluster(setup=["export ADDED=1"]), max_restarts=3)
    plain = replace(JOB, submission=submission, start_folder=tmp_path)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "40123", "SLURM_ARRAY_TASK_ID": "1"}
    several = replace(plain, tasks=2, before=choose_run([Path("/x"), Path("/y z")]))
    for job, run in ((plain, "/runs/digits/a run"), (several, "/y z")):
        script = tmp_path / "submit.sbatch"
        script.write_text(write_script(job))
        done = subprocess.run(["bash", str(script)], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 7, done.stderr
        expected = f"--kill-on-bad-exit=1|{sys.executable}|/runs/digits/a run/code/start.py|fit|--resume|{run}|"
        assert done.stdout == f"{expected}/runs/digits/a run/code/own0:/runs/digits/a run/code/fmlab|3|15123|"


def test_the_copy_is_the_code_as_it_is_now(tmp_path: Path) -> None:
    """Of a repository what git knows, changed or not, and new Python; of a plain folder its Python."""
    repository, plain = tmp_path / "mine", tmp_path / "plain"
    (repository / "nets").mkdir(parents=True)
    plain.mkdir()

    def git(*parts: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
        done = subprocess.run(["git", *identity, *parts], cwd=repository, capture_output=True, text=True, check=True)
        return done.stdout

    git("init", "-q")
    (repository / ".gitignore").write_text("secret.py\n")
    (repository / "my_net.py").write_text("version = 1\n")
    git("add", "-A")
    git("commit", "-qm", "first")
    (repository / "my_net.py").write_text("version = 2\ntoken = 'hf_0123456789abcdefghij'\n")
    (repository / "nets" / "new.py").write_text("new = True\n")
    (repository / "secret.py").write_text("key = 1\n")
    (repository / "large.bin").write_bytes(b"0" * 1000)
    (plain / "other.py").write_text("other = 1\n")
    (plain / "data.npz").write_bytes(b"0")
    before = git("status", "--porcelain")
    places = copy_code(tmp_path / "code", [repository, plain])
    assert git("status", "--porcelain") == before
    assert git("stash", "list") == ""
    first, second, package = places
    assert (first / "my_net.py").read_text() == (repository / "my_net.py").read_text(), "exact, because it is run"
    assert (tmp_path / "code").stat().st_mode & 0o777 == 0o700, "and therefore for its owner alone"
    assert (first / "nets" / "new.py").is_file()
    assert not (first / "secret.py").exists()
    assert not (first / "large.bin").exists()
    difference = (tmp_path / "code" / "own0.diff").read_text()
    assert "+version = 2" in difference
    assert "hf_0123456789abcdefghij" not in difference
    assert "<hidden>" in difference
    assert sorted(file.name for file in second.iterdir()) == ["other.py"]
    code = "import fmlab, my_net, other; print(fmlab.__file__, my_net.version)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(map(str, places)), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [str(package / "fmlab" / "__init__.py"), "2"]
    (tmp_path / "fmlab.py").write_text("raise SystemExit('what lies where it is started')\n")
    started = subprocess.run(
        [sys.executable, str(tmp_path / "code" / "start.py"), "--version"],
        env={"PYTHONPATH": ":".join(map(str, places)), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.stdout == f"fmlab {fmlab.__version__}\n", started.stderr
