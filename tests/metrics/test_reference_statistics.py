import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from fmlab.errors import UserError
from fmlab.metrics.cache import cache_folder, load_or_make
from fmlab.metrics.network import RandomFeatures
from fmlab.metrics.reference import reference_points, reference_statistics, statistics_key
from fmlab.metrics.subset import KeyedSubset, keyed_rows


@pytest.fixture
def network() -> RandomFeatures:
    return RandomFeatures((1, 8, 8))


def test_statistics_are_those_of_the_features_at_any_batch_size(stripes, network, tmp_path: Path) -> None:
    features = network(stripes.x).double()
    for batch_size in (7, 1000):
        statistics = reference_statistics(stripes, network, tmp_path / str(batch_size), batch_size)
        torch.testing.assert_close(statistics.mu, features.mean(0), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(statistics.sigma, features.T.cov(), rtol=1e-5, atol=1e-7)
        torch.testing.assert_close(statistics.features, features.float())
        torch.testing.assert_close(statistics.factor @ statistics.factor.T, statistics.sigma, rtol=1e-9, atol=1e-12)
        assert statistics.n == len(stripes.x)
        assert statistics.mu.dtype == statistics.sigma.dtype == torch.float64


def test_the_second_caller_reads_the_file(stripes, network, tmp_path: Path) -> None:
    first = reference_statistics(stripes, network, tmp_path)
    second = reference_statistics(stripes, network, tmp_path)
    assert stripes.reads == 1
    assert first.key == second.key
    for name in ("mu", "sigma", "factor", "features"):
        assert torch.equal(getattr(first, name), getattr(second, name))
    (file,) = tmp_path.glob("*.npz")
    assert set(np.load(file)) == {"mu", "sigma", "factor", "n", "features", "key", "made_with"}


def test_one_pixel_another_network_or_other_weights_change_the_key(make_set: type, stripes, network) -> None:
    key = statistics_key(stripes.reference_hash(), network)
    changed = stripes.x.clone()
    changed[5, 0, 3, 3] ^= 1
    assert statistics_key(make_set(changed).reference_hash(), network) != key
    assert statistics_key(make_set(stripes.x.clone()).reference_hash(), network) == key
    other = RandomFeatures((1, 8, 8))
    other.layers[0].bias.data[0] += 1e-3
    assert statistics_key(stripes.reference_hash(), other.freeze()) != key
    renamed = RandomFeatures((1, 8, 8))
    renamed.name = "domain"
    assert statistics_key(stripes.reference_hash(), renamed) != key
    resized = RandomFeatures((1, 8, 8))
    resized.resize = "to 299 x 299"
    assert statistics_key(stripes.reference_hash(), resized) != key
    edited = RandomFeatures((1, 8, 8))
    edited.code = "another source"
    assert statistics_key(stripes.reference_hash(), edited) != key


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "another"])
def test_a_damaged_file_is_computed_again(
    stripes,
    network,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    damage: str,
) -> None:
    expected = reference_statistics(stripes, network, tmp_path)
    (file,) = tmp_path.glob("*.npz")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    if damage == "another":
        with np.load(file) as whole:
            np.savez(file, **{**whole, "key": np.str_("another set")})
    else:
        file.write_bytes({"cut": content[:5000], "empty": b"", "flipped": content}[damage])
    with caplog.at_level(logging.WARNING):
        statistics = reference_statistics(stripes, network, tmp_path)
    assert "is damaged" in caplog.text
    assert torch.equal(statistics.mu, expected.mu)
    assert stripes.reads == 2


def test_a_set_of_one_image_is_refused(make_set: type, network, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 2"):
        reference_statistics(make_set(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)), network, tmp_path)
    assert not list(tmp_path.glob("*.npz"))


def test_kept_rows_are_the_same_whatever_the_batches() -> None:
    rows = torch.arange(1000).float()[:, None]
    expected = rows[keyed_rows(1000, 100)]
    assert len(expected) == 100
    assert 400 < expected.mean() < 600
    for batch_size in (1, 33, 1000):
        choice = KeyedSubset(100)
        for batch in rows.split(batch_size):
            choice.add(batch)
        assert torch.equal(choice.rows(), expected)
    assert torch.equal(keyed_rows(5, 10), torch.arange(5))


def test_reference_points_are_chosen_from_a_set_of_points(make_set: type) -> None:
    points = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(reference_points(make_set(points)), points)
    assert torch.equal(reference_points(make_set(points), 10), points[keyed_rows(300, 10)])


def test_a_file_is_whole_or_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("os.replace", broken)
    with pytest.raises(OSError, match="disk is full"):
        load_or_make(tmp_path / "file", Path.read_bytes, lambda: b"content")
    assert [file.name for file in tmp_path.iterdir()] == ["file.lock"]


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    def refused() -> bytes:
        raise PermissionError(13, "Permission denied")

    with pytest.raises(UserError, match="cannot be written to"):
        load_or_make(tmp_path / "file", Path.read_bytes, refused)


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FMLAB_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.delenv("FMLAB_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "fmlab"
