"""One pass over the images says what torch-fidelity says of the same images, features, splits and subsets."""

import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor
from torch.utils.data import Dataset

from fmlab.data import Digits
from fmlab.metrics.domain import shipped_network
from fmlab.metrics.metric_set import MetricSet
from fmlab.metrics.parts import MetricParts

torch_fidelity = pytest.importorskip("torch_fidelity")
base = pytest.importorskip("torch_fidelity.feature_extractor_base")
SUBSET_SIZE = 120  # half of the 240 generated images
THEIRS = {
    "fid_domain": "frechet_inception_distance",
    "kid_subsets_domain": "kernel_inception_distance_mean",
    "kid_domain_std": "kernel_inception_distance_std",
    "is_domain": "inception_score_mean",
    "is_domain_std": "inception_score_std",
    "precision_domain": "precision",
    "recall_domain": "recall",
}


class DigitsExtractor(base.FeatureExtractorBase):
    """The shipped classifier of digits as an extractor of torch-fidelity's."""

    def __init__(self, name: str, features_list: list[str], **_: object) -> None:
        super().__init__(name, features_list)
        self.network = shipped_network("digits")

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("features", "logits")

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "logits" if metric == "isc" else "features"

    @staticmethod
    def can_be_compiled() -> bool:
        return False

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        outputs = {"features": self.network(images), "logits": self.network.logits(images)}
        return tuple(outputs[name] for name in self.features_list)


class Images(Dataset):
    def __init__(self, x: Tensor) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Tensor:
        return self.x[index]


class Reference(Digits):
    """The first 300 digits."""

    def __init__(self) -> None:
        super().__init__(limit=300)


def generated() -> Tensor:
    """Other digits than the reference's, with noise."""
    images = Digits().labelled_images("validation")[0][:240].float()
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0))
    return (images + 40 * noise).clamp(0, 255).to(torch.uint8)


def ours(cache: Path) -> MetricSet:
    return MetricSet(["fid", "kid", "is", "prdc"], MetricParts(Reference(), 240, cache, "domain"))


def two_processes(rank: int, file: str, cache: str) -> None:
    torch.set_num_threads(1)  # a forked process must not enter OpenMP's parallel regions
    dist.init_process_group("gloo", init_method=f"file://{file}", rank=rank, world_size=2)
    metrics, images = ours(Path(cache)), generated()
    mine = torch.arange(1 - rank, 240, 2).flip(0)  # the ranks and the order turned round
    for indices in mine.split((17, 50)[rank]):
        metrics.update(images[indices], None, indices)
    torch.save(metrics.compute(), Path(cache) / f"rank{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def theirs() -> dict[str, float]:
    if "fmlab-digits" not in torch_fidelity.registry.FEATURE_EXTRACTORS_REGISTRY:
        torch_fidelity.register_feature_extractor("fmlab-digits", DigitsExtractor)
    return torch_fidelity.calculate_metrics(
        input1=Images(generated()),
        input2=Images(torch.cat(list(Reference().reference_batches(300)))),
        feature_extractor="fmlab-digits",
        fid=True,
        kid=True,
        isc=True,
        prc=True,
        kid_subset_size=SUBSET_SIZE,
        cuda=False,
        save_cpu_ram=True,
        cache=False,
        verbose=False,
    )


def test_one_process_agrees(theirs: dict[str, float], tmp_path: Path) -> None:
    metrics, images = ours(tmp_path), generated()
    for indices in torch.randperm(240, generator=torch.Generator().manual_seed(1)).split(37):
        metrics.update(images[indices], None, indices)
    values = metrics.compute()
    for key, name in THEIRS.items():
        assert values[key] == pytest.approx(theirs[name], rel=1e-4), key
    assert 0.1 < values["precision_domain"] < 1  # a test of nothing where all or none are inside
    assert 0.1 < values["recall_domain"] < 1
    assert values["kid_domain"] == pytest.approx(values["kid_subsets_domain"], rel=0.2)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_two_processes_agree(theirs: dict[str, float], tmp_path: Path) -> None:
    ours(tmp_path)  # the statistics, in the cache
    method = "fork" if sys.platform == "linux" else "spawn"
    mp.start_processes(two_processes, args=(str(tmp_path / "store"), str(tmp_path)), nprocs=2, start_method=method)
    metrics, images = ours(tmp_path), generated()
    metrics.update(images, None, torch.arange(240))
    alone = metrics.compute()
    for rank in range(2):
        values = torch.load(tmp_path / f"rank{rank}.pt")
        assert values == pytest.approx(alone, rel=1e-5)
        for key, name in THEIRS.items():
            assert values[key] == pytest.approx(theirs[name], rel=1e-4), key
