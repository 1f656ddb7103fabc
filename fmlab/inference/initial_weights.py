"""Training that begins from weights which are already trained."""

from __future__ import annotations

from typing import Any, cast

import torch
from lightning.pytorch import Callback, LightningModule, Trainer

from fmlab.errors import UserError
from fmlab.inference.exported import put_weights
from fmlab.inference.load import load
from fmlab.training.generative_module import GenerativeModule


class InitialWeights(Callback):
    """Begins a run from the weights of another run or of a file that `fmlab export` or `fmlab import` made.

    The network must compute the same as the one the weights come from, which is checked; path, prediction and data are
    the new run's own. A resumed run continues from its checkpoint and no longer needs the weights.

    Args:
        weights: A run (its folder, its id, or an experiment's name; averaged weights of its best checkpoint) or a
            `.safetensors` file.
        trust: Whether that run may import code outside of fmlab and torch.
        enabled: Whether to begin from them.
    """

    state_key = "InitialWeights"

    def __init__(self, weights: str, trust: bool = False, enabled: bool = True) -> None:
        self.weights, self.trust, self.enabled = weights, trust, enabled
        self._loaded = False

    def state_dict(self) -> dict[str, Any]:
        return {"weights": self.weights}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded = True

    @torch.no_grad()
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._loaded:
            return
        network = cast(GenerativeModule, pl_module).network
        trained = load(self.weights, device=pl_module.device, trust=self.trust)
        key, hint = "initial.weights", "give model.network the class and the arguments that the weights come from"
        put_weights(network, trained.network.state_dict(), "do not fit this network", key, hint)
        x = torch.randn(2, *trained.shape, generator=torch.Generator().manual_seed(0)).to(pl_module.device)
        t = torch.tensor([0.3, 0.8], device=pl_module.device)
        training = network.training
        output, expected = network.eval()(x, t), trained.network(x, t)
        network.train(training)
        if not torch.allclose(output, expected, rtol=0, atol=1e-4 * float(expected.abs().max())):
            raise UserError("compute something else in this network", key=key, hint=hint)
        self._loaded = True
