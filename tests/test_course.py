"""Every line of docs/course.md: its Python in one session, its commands for a few steps, its pictures."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch
from helpers.tiny_runs import TINY

from fmlab.__main__ import main

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "course.md").read_text()
COMMANDS = [line.strip() for line in PAGE.splitlines() if line.startswith("    fmlab ")]
SHORT = [
    "--trainer.max_steps=2",
    "--trainer.val_check_interval=2",
    "--wandb.mode=disabled",
    "--trainer.accelerator=cpu",
]


def test_the_python_of_the_page_runs_and_its_claims_hold() -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert len(blocks) > 10
    with torch.random.fork_rng():
        session: dict[str, object] = {}
        for block in blocks:
            exec(compile(block, "docs/course.md", "exec"), session)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_runs(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training for two steps of small networks; sampling from such a run."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    verb, *argv = shlex.split(command)[1:]
    if verb == "sample":
        assert main(["fit", "--config", "experiments/digits.yaml", *TINY, *SHORT, "--floor.enabled=false"]) == 0
        argv += ["--num_samples", "10", "--steps", "2", "--device", "cpu"]
    elif verb == "fit":
        small = [word for word in TINY if word.startswith("--model.network.width") and "UNet" not in command]
        argv += [*SHORT, *small, "--fid.enabled=false", "--samples.enabled=false"]
    assert main([verb, *argv]) == 0


def test_the_pictures_of_the_page_are_there() -> None:
    for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", PAGE):
        assert (ROOT / "docs" / picture).is_file(), picture
