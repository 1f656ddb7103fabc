"""Breaks of the room `exchange`."""

from breaks.mutant import Mutant

MUTANTS = [
    Mutant(
        "an export of the wrong weights",
        "exchange/export.py",
        "load_module(layout, checkpoint, weights, ema_std)",
        'load_module(layout, checkpoint, "raw", None)',
        "tests/runs/test_exported_runs.py",
    ),
    Mutant(
        "scores of weights nobody measured",
        "exchange/export.py",
        'ema_std is None and (weights == "averaged" or not averages)',
        "ema_std is None",
        "tests/runs/test_exported_runs.py",
    ),
    Mutant(
        "a damaged export is believed",
        "exchange/exported.py",
        'if _hash(tensors, said["fmlab"]) != said.get("sha256"):',
        "if False:",
        "tests/runs/test_exported_runs.py",
    ),
    Mutant(
        "official DiT's time not reversed",
        "exchange/official.py",
        "cosines * sin - sines * cos]",
        "cosines * sin + sines * cos]",
        "tests/exchange",
    ),
    Mutant(
        "the variance half of official weights",
        "exchange/official.py",
        "[:, :channels].flatten(0, 1)",
        "[:, channels:].flatten(0, 1)",
        "tests/exchange",
    ),
    Mutant(
        "official SiT's time scaled",
        "exchange/official.py",
        'if convention == "DiT" else 1.0,',
        'if convention == "DiT" else 1000.0,',
        "tests/exchange",
    ),
]
