"""A metric from a file of the user's own, by its import path."""

import sys
from pathlib import Path

import pytest
import torch

from fmlab.__main__ import main
from fmlab.errors import UserError
from fmlab.metrics.metric_set import MetricSet
from fmlab.metrics.parts import MetricParts
from fmlab.metrics.registry import check_metrics, facts

CODE = """
import torch
from fmlab.metrics.metric import SampleMetric
from fmlab.metrics.registry import Facts


class Brightness(SampleMetric):
    facts = Facts(
        name="brightness",
        title="the mean grey level",
        kind="images",
        inputs=("samples",),
        outputs=("brightness",),
        better="more",
        least=1,
        estimator="mean, v1",
    )

    def __init__(self):
        super().__init__()
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @classmethod
    def build(cls, parts):
        return cls()

    def update(self, samples):
        self.total = self.total + samples.double().sum()
        self.count = self.count + samples.numel()

    def compute(self):
        return {"brightness": self.total / self.count}


class Clash(Brightness):
    facts = Facts("clash", "a clash", "images", ("samples",), ("fid",), None, 1, "mean, v1")


class Factless(SampleMetric):
    pass
"""


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with `my_parts.py`, which is not on Python's path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder])
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "my_parts.py").write_text(CODE)
    yield tmp_path
    sys.modules.pop("my_parts", None)
    facts.cache_clear()


def test_it_is_measured_beside_others_and_its_code_is_part_of_the_measurement(own_folder: Path, stripes) -> None:
    metrics = MetricSet(["my_parts.Brightness", "kid"], MetricParts(stripes, 60, own_folder / "cache", "random"))
    assert metrics.names == ["kid", "my_parts.Brightness"]
    metrics.update(stripes.x[:60], None, torch.arange(60))
    values = metrics.compute("val")
    assert values["val/brightness"] == pytest.approx(stripes.x[:60].double().mean().item(), rel=1e-12)
    assert "val/kid_random" in values
    assert metrics.better["brightness"] == "more"
    estimator = metrics.measurement()["estimators"]["brightness"]
    assert estimator.startswith("mean, v1; code ")
    assert len(estimator.rpartition(" ")[2]) == 64
    assert "code" not in metrics.measurement()["estimators"]["kid_random"]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["my_parts.Brightnes"], "my_parts has no SampleMetric 'Brightnes'\n  did you mean Brightness?"),
        (["my_part.Brightness"], "my_part cannot be imported: ModuleNotFoundError: No module named 'my_part'"),
        (["my_parts.Factless"], "my_parts.Factless does not state `facts = Facts(...)`"),
        (["fid", "my_parts.Clash"], "two metrics give the value fid"),
    ],
)
def test_what_is_wrong_with_it_is_said_in_one_line(own_folder: Path, names: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_metrics(names)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2


def test_the_kind_of_its_data_is_checked(own_folder: Path) -> None:
    with pytest.raises(UserError, match=r"my_parts\.Brightness compares images, and these are points"):
        check_metrics(["my_parts.Brightness"], "points")


def test_help_explains_a_metric_by_its_name_and_its_class(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["help", "FrechetDistance"], ["list", "metrics", "fid"]):
        assert main(argv) == 0
        output = capsys.readouterr().out
        assert "fmlab.metrics.frechet.FrechetDistance" in output
        assert "The standard error is the jackknife's" in output
