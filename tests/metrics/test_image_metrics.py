import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from fmlab.data import Digits
from fmlab.errors import UserError
from fmlab.metrics.metric_set import MetricSet
from fmlab.metrics.parts import MetricParts
from fmlab.metrics.registry import METRICS, check_metrics, facts, fitting_metrics, metric_class

N = 90
IMAGES = [name for name in METRICS if facts(name).kind == "images" and not facts(name).held_out]


@pytest.fixture(scope="module")
def digits() -> Digits:
    return Digits(limit=150)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def images() -> tuple[Tensor, Tensor]:
    """Real digits, noisy, and the labels they are taken for."""
    x, labels = Digits().labelled_images("validation")
    noise = 40 * torch.randn(N, *x.shape[1:], generator=torch.Generator().manual_seed(0))
    return (x[:N].float() + noise).clamp(0, 255).to(torch.uint8), labels[:N]


Make = Callable[..., MetricSet]


@pytest.fixture
def make(digits: Digits, cache: Path) -> Make:
    return lambda names=tuple(IMAGES), n=N, **more: MetricSet(list(names), MetricParts(digits, n, cache, **more))


def feed(metrics: MetricSet, images: tuple[Tensor, Tensor], order: Tensor, batch_size: int = 32) -> None:
    for indices in order.split(batch_size):
        metrics.update(images[0][indices], images[1][indices], indices)


def test_all_metrics_come_from_one_pass_under_the_repositorys_keys(make: Make, images, monkeypatch) -> None:
    metrics, forwards = make(), []
    forward = type(metrics.parts.network).extract
    monkeypatch.setattr(
        type(metrics.parts.network), "extract", lambda self, x: forwards.append(len(x)) or forward(self, x)
    )
    feed(metrics, images, torch.arange(N))
    assert forwards == [32, 32, 26]  # the accuracy and the Inception Score read the same features
    values = metrics.compute()
    keys = {f"{output}_domain" for name in IMAGES for output in facts(name).outputs}
    spreads = {f"{output}_domain_std" for name in IMAGES if facts(name).spread for output in facts(name).outputs}
    with_spread = {f"{output}_domain" for name in IMAGES for output in facts(name).spread_outputs}
    assert set(values) == keys | spreads | with_spread
    assert {"fid_domain", "fid_domain_std", "kid_subsets_domain", "coverage_domain_std"} < set(values)
    assert 0.5 < values["accuracy_domain"] < 1
    assert 2 < values["is_domain"] < 10
    assert all(values[key] > 0 for key in spreads - {"coverage_domain_std"})
    assert next(iter(metrics.compute("test"))) == "test/fid_domain"


def test_every_value_has_a_better_side(make: Make, images) -> None:
    metrics = make()
    feed(metrics, images, torch.arange(N))
    sides = {f"{value}_domain": facts(name).better for name in IMAGES for value in facts(name).values}
    assert metrics.better == {key: side for key, side in sides.items() if side is not None}
    assert set(sides) == {key for key in metrics.compute() if not key.endswith("_std")}
    more = ("is", "precision", "recall", "density", "coverage", "accuracy")
    assert {key for key, side in metrics.better.items() if side == "more"} == {f"{value}_domain" for value in more}
    less = ("fid", "kid", "kid_subsets")
    assert {key for key, side in metrics.better.items() if side == "less"} == {f"{value}_domain" for value in less}


def test_neither_order_nor_batch_size_matters(make: Make, images) -> None:
    expected, other = make(), make()
    feed(expected, images, torch.arange(N), N)
    feed(other, images, torch.randperm(N, generator=torch.Generator().manual_seed(1)), 7)
    assert other.compute() == pytest.approx(expected.compute(), rel=1e-5)  # float32 features of another batch


def test_an_interrupted_evaluation_continues(make: Make, images, tmp_path: Path) -> None:
    whole, first, second = make(), make(), make()
    feed(whole, images, torch.arange(N), 30)
    feed(first, images, torch.arange(30), 30)
    torch.save(first.state(), tmp_path / "state.pt")
    second.load_state(torch.load(tmp_path / "state.pt", weights_only=True))
    with pytest.raises(UserError, match="30 of 90 samples"):
        second.compute()
    feed(second, images, torch.arange(30, N), 30)
    assert second.compute() == pytest.approx(whole.compute(), rel=1e-12)
    whole.load_state(first.state())  # in the place of what it had, also of what it has computed
    feed(whole, images, torch.arange(30, N), 30)
    assert whole.compute() == second.compute()


def test_none_counts_twice(make: Make, images) -> None:
    metrics = make()
    feed(metrics, images, torch.arange(20))
    for places in ([0, 1], [30, 30]):
        with pytest.raises(ValueError, match="each of them once"):
            metrics.update(images[0][:2], images[1][:2], torch.tensor(places))
    with pytest.raises(ValueError, match="from 0 to 89"):
        make().update(images[0][:1], images[1][:1], torch.tensor([N]))


@pytest.mark.parametrize("change", [{"n": N - 1}, {"names": ("fid",)}, {"features": "random", "names": ("fid", "kid")}])
def test_a_state_of_another_measurement_is_refused(make: Make, images, change: dict) -> None:
    metrics = make(("fid", "kid"))
    feed(metrics, images, torch.arange(20))
    with pytest.raises(UserError, match="belongs to other metrics"):
        make(**{"names": ("fid", "kid"), **change}).load_state(metrics.state())


def test_images_that_were_not_finite_leave_no_value(make: Make, images) -> None:
    """Rounded to uint8 they look like any others: black pictures had a distance of their own."""
    metrics = make(("fid", "kid"))
    finite = torch.ones(N, dtype=torch.bool)
    finite[[3, 7]] = False
    for rows in torch.arange(N).split(32):
        metrics.update(images[0][rows], images[1][rows], rows, finite[rows])
    values, state = metrics.compute("val"), metrics.state()
    assert values.pop("val/nonfinite_samples") == 2
    assert len(values) >= 4
    assert all(value != value for value in values.values())
    metrics.load_state(state)
    assert metrics.compute()["nonfinite_samples"] == 2
    metrics.reset()
    feed(metrics, images, torch.arange(N))
    assert "nonfinite_samples" not in metrics.compute()


def test_a_state_measured_against_another_reference_is_refused(make: Make, images, cache: Path) -> None:
    metrics, other = make(("fid",)), MetricSet(["fid"], MetricParts(Digits(limit=149), N, cache))
    feed(metrics, images, torch.arange(20))
    with pytest.raises(UserError, match="belongs to other metrics"):
        other.load_state(metrics.state())


def test_what_a_state_holds_does_not_grow_with_the_images(make: Make) -> None:
    sizes = [
        sum(value.nbytes for name, value in make(("fid", "is"), n).state().items() if name != "guard.counts")
        for n in (20, 10_000)
    ]
    assert sizes[0] == sizes[1]


def test_a_validation_in_inference_mode_and_autocast_changes_nothing(make: Make, images) -> None:
    expected, other = make(), make()
    feed(expected, images, torch.arange(N), 45)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        feed(other, images, torch.arange(45), 45)
    feed(other, images, torch.arange(45, N), 45)
    assert other.compute() == pytest.approx(expected.compute(), rel=1e-12)


def test_accuracy_is_judged_by_the_domain_network_whatever_the_features(make: Make, images) -> None:
    metrics, judged = make(("fid", "accuracy"), features="random"), make(("accuracy",))
    for each in (metrics, judged):
        feed(each, images, torch.arange(N))
    values = metrics.compute()
    assert set(values) == {"fid_random", "fid_random_std", "accuracy_domain", "accuracy_domain_std"}
    assert values["accuracy_domain"] == judged.compute()["accuracy_domain"]


def test_bad_requests_are_answered_in_one_line(make: Make, images, digits: Digits, cache: Path) -> None:
    for names, n, message in [
        (("fid", "prcd"), N, "no metric 'prcd'\n  did you mean prdc?"),
        ((), N, f"no metric is named\n  choose from: {', '.join(fitting_metrics('images'))}"),
        (("is",), 19, "is, the Inception Score, needs at least 20 images, not 19"),
        (("fid",), 19, "fid, the Fréchet distance, needs at least 20 images, not 19"),
        (("kid",), 3, "kid, the kernel distance, needs at least 4 images, not 3"),
        (("prdc",), 5, "needs at least 6 images, not 5"),
        (("accuracy",), 1, "needs at least 2 images, not 1"),
    ]:
        with pytest.raises(UserError) as caught:
            make(names, n)
        assert message in str(caught.value)
        assert len(str(caught.value).splitlines()) <= 2
    with pytest.raises(UserError, match="random features come without class logits"):
        make(("is",), features="random")
    with pytest.raises(UserError, match="needs the labels"):
        make(("accuracy",)).update(images[0], None, torch.arange(N))


def test_accuracy_of_data_without_classes_is_refused(make_set: type, cache: Path) -> None:
    with pytest.raises(UserError, match="two or more classes"):
        MetricSet(["accuracy"], MetricParts(make_set(torch.zeros(30, 1, 8, 8, dtype=torch.uint8)), 20, cache))


def test_each_metric_works_with_the_fewest_images_it_asks_for(make: Make, images) -> None:
    for name in IMAGES:
        least = facts(name).least
        metrics = make((name,), least)
        feed(metrics, images, torch.arange(least))
        assert all(value == value for value in metrics.compute().values())  # none is nan


def test_names_come_once_and_in_the_tables_order() -> None:
    assert check_metrics(["is", "fid", "is"]) == ["fid", "is"]


def test_a_singular_covariance_is_not_hidden(make: Make) -> None:
    few = make(("fid",), 72).remarks()
    assert len(few) == 1
    assert "72 generated images have a singular covariance in 72 dimensions" in few[0]
    assert make(("fid",), 73).remarks() == []
    assert make(("kid",), 20).remarks() == []


def test_how_it_was_computed_travels_with_the_numbers(make: Make) -> None:
    metrics = make()
    record, network, reference = metrics.measurement(), metrics.parts.network, metrics.parts.statistics
    assert set(record["estimators"]) == {f"{name}_domain" for name in IMAGES}
    assert network.weights_hash in record["estimators"]["accuracy_domain"]
    assert record["features"] == {"name": "domain", "weights": network.weights_hash}
    assert (record["samples"], record["reference"]["size"]) == (N, 150)
    assert network.description()["resize"].startswith("none below 128 pixels")
    assert len(reference.key) == len(hashlib.sha256().hexdigest())


def test_without_spread_the_values_are_the_same_and_take_fewer_images(make: Make, images) -> None:
    """As in a validation: nothing is known of the splits, and two images are enough."""
    with_spread, alone = make(("fid", "kid")), make(("fid", "kid"), spread=False)
    for metrics in (with_spread, alone):
        feed(metrics, images, torch.arange(N))
    values = with_spread.compute()
    assert alone.compute() == pytest.approx({key: values[key] for key in ("fid_domain", "kid_domain")}, rel=1e-12)
    few = make(("fid", "kid"), 2, spread=False)
    feed(few, images, torch.arange(2))
    assert set(few.compute("val")) == {"val/fid_domain", "val/kid_domain"}


def test_every_class_states_the_facts_that_are_read_without_running_it() -> None:
    for name in METRICS:
        assert metric_class(name).facts == facts(name)
        assert facts(name).name == name
    assert {"w2", "mmd", "neighbours"} <= set(fitting_metrics("points"))
    assert not set(fitting_metrics("points")) & set(IMAGES)


def test_checking_names_imports_nothing_heavy() -> None:
    code = (
        "import sys; from fmlab.metrics.registry import check_metrics; check_metrics(['fid', 'kid'], 'images', 100);"
        "print([name for name in ('torch', 'numpy', 'torchmetrics') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
