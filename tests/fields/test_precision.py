"""The precision of a network's arithmetic while it makes samples."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from fmlab.errors import UserError
from fmlab.fields import LearnedField, Sampling, choose_precision, generate, precision, resolve_precision
from fmlab.paths import CondOT
from fmlab.solvers import Heun, UniformGrid


class Recorder(nn.Module):
    """A linear network that remembers its times and the type of its products."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        nn.init.eye_(self.linear.weight)
        self.times: list[Tensor] = []
        self.types: set[torch.dtype] = set()

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        product = self.linear(x)
        self.times.append(t)
        self.types.add(product.dtype)
        return product


def samples(name: str | None) -> tuple[Recorder, Tensor, str | None]:
    network, sampling = Recorder(), Sampling(Heun(), 7, UniformGrid())
    torch.manual_seed(0)
    network.linear.bias.data.normal_()
    (batch,) = generate(lambda _: LearnedField(network, CondOT()), sampling, range(4), (3,), precision=name)
    return network, batch.samples, batch.precision


@pytest.mark.parametrize(("name", "low"), [("bf16-mixed", torch.bfloat16), ("16-mixed", torch.float16)])
def test_a_low_precision_is_the_networks_alone(name: str, low: torch.dtype) -> None:
    exact, expected, _ = samples("float32")
    network, rounded, used = samples(name)
    assert network.types == {low}
    assert used == name
    assert rounded.dtype == torch.float32
    assert torch.equal(torch.stack(network.times), torch.stack(exact.times)), "times are never rounded"
    assert network.times[0].dtype == torch.float32
    assert not torch.equal(rounded, expected)
    torch.testing.assert_close(rounded, expected, rtol=0, atol=0.1)


def test_float32_holds_within_the_callers_autocast() -> None:
    with torch.autocast("cpu", torch.bfloat16):
        network, inside, used = samples("float32")
        surrounded, *_, unknown = samples(None)
    assert network.types == {torch.float32}
    assert used == "float32"
    assert torch.equal(inside, samples("float32")[1])
    assert surrounded.types == {torch.bfloat16}
    assert unknown is None


def test_auto_is_what_is_fastest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "choose_precision", lambda kind: {"cpu": "bf16-mixed"}[kind])
    assert samples("auto")[2] == "bf16-mixed"
    assert resolve_precision("float32", "cpu") == "float32"


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UserError, match="no precision 'bfloat16'"):
        samples("bfloat16")


def test_trials_of_a_sweep_agree_on_their_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timing depends on what else the machine does: two trials would be compared that computed differently."""
    monkeypatch.setattr(precision, "_processor_flags", lambda: {"avx512_bf16"})
    monkeypatch.setattr(precision, "bf16_is_faster", lambda: True)
    for name in ("WORLD_SIZE", "SLURM_NTASKS", "FMLAB_TRIAL"):
        monkeypatch.delenv(name, raising=False)
    assert choose_precision("cpu") == "bf16-mixed"
    monkeypatch.setenv("FMLAB_TRIAL", "runs/paths/paths-0000")
    assert choose_precision("cpu") == "float32"
    monkeypatch.setattr(precision, "_processor_flags", lambda: {"amx_bf16", "avx512_bf16"})
    assert choose_precision("cpu") == "bf16-mixed", "not timed"
