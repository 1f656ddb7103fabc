"""Credentials are recognised by the variable that holds them, by the name they are given to, and by their shape."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fmlab.records import RunLayout, write_meta, write_status
from fmlab.records.secrets import values_without_secrets, without_secrets

SECRET = "Zq3kLm9xTb2vNp8wRy5d"


@pytest.mark.parametrize(
    "text",
    [
        f"hf_{SECRET}",
        *(f"gh{letter}_{SECRET}" for letter in "pousr"),
        f"github_pat_{SECRET}",
        f"glpat-{SECRET}",
        "AKIAIOSFODNN7EXAMPLE",
        f"sk-{SECRET}",
        f"xoxb-{SECRET}",
        f"Bearer {SECRET}",
        f"authorization: basic {SECRET}",
        f"https://host/file?token={SECRET}",
        f"https://host/file?a=1&X-Amz-Signature={SECRET}",
        f"https://me:{SECRET}@host/file",
        f"https://{SECRET}@host/file",
        f"--password {SECRET}",
        f"--data.password={SECRET}",
        f"--data.db_password '{SECRET}'",
        f"api_key: {SECRET}",
        f'"secret_key" : "{SECRET}"',
        f"HF_TOKEN={SECRET} fmlab fit",
        f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_credentials_are_hidden_in_texts(text: str) -> None:
    clean = without_secrets(text, {})
    assert SECRET not in clean
    assert "EXAMPLE" not in clean
    assert "<hidden>" in clean
    assert values_without_secrets({"a": [text]}) == {"a": [clean]}


@pytest.mark.parametrize(
    "text",
    [
        "num_tokens: 256",
        "class_token: learned",
        "pad_token: p",
        "tokenizer: clip",
        "state_key: val/fid",
        "password: ${oc.env:DB_PASSWORD}",
        "token: null",
        "the secret of a token --steps",
        "http://host:80/a@b",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4",
        "runs/digits/20261123-061203-a1b2",
    ],
)
def test_other_words_stay(text: str) -> None:
    assert without_secrets(text, {}) == text


def test_values_of_environment_variables_are_hidden_by_the_variables_name() -> None:
    environment = {"DB_PASS": "hunter2", "MY_CREDENTIALS": "abcdef", "PWD": "/home/me", "TOKEN": "data"}
    text = "hunter2 hunter23 abcdef /home/me data"
    assert without_secrets(text, environment) == "<DB_PASS> hunter23 <MY_CREDENTIALS> /home/me data"


def test_words_after_an_option_and_values_under_a_name_are_hidden() -> None:
    assert values_without_secrets(["fit", "--data.password", "x y", "--steps", "3"]) == [
        *("fit", "--data.password", "<hidden>", "--steps", "3"),
    ]
    assert values_without_secrets(["--password", "--steps", "3"]) == ["--password", "--steps", "3"]
    node = {"password": "x y", "token": 3, "class_token": "learned", "auth": {"api_key": "z"}, "secret": "${oc.env:A}"}
    clean = {**node, "password": "<hidden>", "auth": {"api_key": "<hidden>"}}
    assert values_without_secrets(node) == clean


def test_every_file_of_the_record_is_clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DB_PASSWORD", "hunter2")
    layout = RunLayout(tmp_path)
    write_meta(layout, ["--data.token", SECRET, "--x=hunter2"], seed=0)
    write_status(layout, "failed", error=f"no access to https://host?token={SECRET} as hunter2")
    for file in (layout.meta, layout.status):
        assert SECRET not in file.read_text()
        assert "hunter2" not in file.read_text()
        json.loads(file.read_text())


@pytest.mark.parametrize("piece", ["a", "-", "--a-", "key", "token ", "password='", "://a:", "-----BEGIN ", "1.", " "])
def test_the_cost_is_linear_in_the_length(piece: str) -> None:
    def seconds(length: int) -> float:
        text = piece * (length // len(piece))
        began = time.process_time()
        without_secrets(text, {"A_TOKEN": "a" * 50})
        return time.process_time() - began

    assert min(seconds(200_000) for _ in range(3)) < 30 * min(seconds(20_000) for _ in range(3)) + 0.05


def test_the_room_stays_light() -> None:
    heavy = "{'torch', 'numpy', 'requests', 'lightning', 'wandb'}"
    code = f"import sys, fmlab.records, fmlab.records.secrets; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
