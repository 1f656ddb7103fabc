"""Files of tensors are whole, and as readable as any new file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fmlab.errors import UserError
from fmlab.records.tensors import open_tensors, write_tensors


def test_tensors_and_metadata_come_back(tmp_path: Path) -> None:
    """Tied tensors and views included; nothing else is left in the folder."""
    file, table = tmp_path / "a.safetensors", torch.arange(6.0).view(2, 3)
    write_tensors(file, {"table": table, "tied": table, "column": table[:, 1]}, {"word": "yes"})
    with open_tensors(file) as opened:
        assert opened.metadata() == {"word": "yes"}
        assert torch.equal(opened.get_tensor("tied"), table)
        assert opened.get_tensor("column").tolist() == [1, 4]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]
    (tmp_path / "b").touch()
    assert file.stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    write_tensors(file, {"x": torch.zeros(2)}, {})
    before = file.read_bytes()
    with pytest.raises(TypeError):
        write_tensors(file, {"x": torch.ones(2)}, {"word": 3})  # type: ignore[dict-item]
    assert file.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.mark.parametrize("content", [b"", b"nonsense that is long enough", None], ids=["empty", "other", "cut"])
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "a.safetensors"
    write_tensors(file, {"x": torch.zeros(200)}, {})
    file.write_bytes(file.read_bytes()[:-100] if content is None else content)
    with pytest.raises(UserError, match="cannot be read") as caught, open_tensors(file):
        pass
    assert str(caught.value).startswith(f"{file}: ")
    assert len(str(caught.value).splitlines()) == 1
