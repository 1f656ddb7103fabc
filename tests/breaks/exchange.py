"""Breaks of the room `exchange`, and of the callbacks and networks that came with it."""

from breaks.mutant import Mutant

MUTANTS = [
    Mutant(
        "a power average's exponent",
        "training/power_ema.py",
        "return float((1 - 1 / step) ** (gamma + 1))",
        "return float((1 - 1 / step) ** gamma)",
        "tests/training/test_power_averages.py",
    ),
    Mutant(
        "inner products with the earlier exponent",
        "training/power_ema.py",
        "np.where(step < other, others, gamma)",
        "np.where(step < other, gamma, others)",
        "tests/training/test_power_averages.py",
    ),
    Mutant(
        "a reconstruction of the newest average alone",
        "training/power_ema.py",
        "snapshots_in(folder).items() if at < step}",
        "snapshots_in(folder).items() if at > step}",
        "tests/training/test_power_averages.py",
    ),
    Mutant(
        "late snapshots kept on resuming",
        "training/power_averages.py",
        "if step > self.step:  # of",
        "if step < self.step:  # of",
        "tests/training/test_power_averages.py",
    ),
    Mutant(
        "an export of the wrong weights",
        "inference/export.py",
        "load_module(layout, checkpoint, weights, ema_std, trust)",
        'load_module(layout, checkpoint, "raw", None)',
        "tests/runs/test_exported_runs.py",
    ),
    Mutant(
        "scores of weights nobody measured",
        "inference/export.py",
        'ema_std is None and (weights == "averaged" or not averages)',
        "ema_std is None",
        "tests/runs/test_exported_runs.py",
    ),
    Mutant(
        "a damaged export is believed",
        "inference/exported.py",
        'if _hash(tensors, said["fmlab"]) != said.get("sha256"):',
        "if False:",
        "tests/runs/test_exported_runs.py",
    ),
    Mutant(
        "official DiT's time not reversed",
        "inference/official.py",
        "cosines * sin - sines * cos]",
        "cosines * sin + sines * cos]",
        "tests/exchange",
    ),
    Mutant(
        "the variance half of official weights",
        "inference/official.py",
        "[:, :channels].flatten(0, 1)",
        "[:, channels:].flatten(0, 1)",
        "tests/exchange",
    ),
    Mutant(
        "official SiT's time scaled",
        "inference/official.py",
        'if convention == "DiT" else 1.0,',
        'if convention == "DiT" else 1000.0,',
        "tests/exchange",
    ),
    Mutant(
        "diffusers' labels dropped twice",
        "networks/diffusers_models.py",
        "class_embedder.dropout_prob = 0.0",
        "class_embedder.dropout_prob = 0.1",
        "tests/networks/test_diffusers_models.py",
    ),
    Mutant(
        "diffusers' time runs the other way",
        "networks/diffusers_models.py",
        "LAST_STEP - DIFFUSION_STEPS * t",
        "DIFFUSION_STEPS * t",
        "tests/networks/test_diffusers_models.py",
    ),
    Mutant(
        "initial weights of another meaning",
        "training/initial_weights.py",
        "if not torch.allclose(found, wanted",
        "if found.isnan().any() and not torch.allclose(found, wanted",
        "tests/runs/test_exported_runs.py",
    ),
]
