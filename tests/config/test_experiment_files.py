"""Every experiment that ships is a valid configuration, and an override reaches each of its interpolations."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from fmlab.config.compose import compose, resolve
from fmlab.config.prepare import prepare

FILES = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A data folder in which the zip of CIFAR-10's images has two."""
    picture = io.BytesIO()
    Image.new("RGB", (32, 32)).save(picture, "JPEG")
    with zipfile.ZipFile(tmp_path / "cifar10-jpeg.zip", "w") as archive:
        for name in ("cat/0.jpg", "dog/0.jpg"):
            archive.writestr(f"train/{name}", picture.getvalue())
            archive.writestr(f"test/{name}", picture.getvalue())
    monkeypatch.setenv("FMLAB_DATA", str(tmp_path))
    monkeypatch.chdir(tmp_path)


def texts(node: Any, key: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from texts(value, (*key, name))
    elif isinstance(node, str):
        yield key, node


def at(config: Any, key: tuple[str, ...]) -> Any:
    for name in key:
        config = config[name]
    return config


def test_there_are_experiments() -> None:
    assert {"digits", "toy2d", "dit_fashion"} <= {path.stem for path in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_an_override_reaches_every_interpolation(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = 0
    for key, text in texts(compose([f"--config={file}"]).raw):
        for reference in re.findall(r"\$\{([a-z_][\w.]*)\}", text):
            config = resolve(compose([f"--config={file}", f"--{reference}=1234567"]).raw)
            assert at(config, key) == 1234567 if text == f"${{{reference}}}" else "1234567" in at(config, key)
            count += 1
        for variable in re.findall(r"\$\{oc\.env:(\w+)", text):
            monkeypatch.setenv(variable, "/over/there")
            assert "/over/there" in at(resolve(compose([f"--config={file}"]).raw), key)
            count += 1
    assert count == file.read_text().count("${")


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
def test_it_is_valid_and_so_is_what_print_config_prints(file: Path, tmp_path: Path) -> None:
    prepared = prepare([f"--config={file}"])
    assert prepared.config["run"]["name"] == file.stem
    (tmp_path / "printed.yaml").write_text(prepared.yaml())
    assert prepare([f"--config={tmp_path}/printed.yaml"]).config == prepared.config
