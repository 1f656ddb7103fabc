"""Trains one of the classifiers that ship with fmlab.metrics and writes its file.

python benchmarks/train_domain_networks.py --data digits --out digits.safetensors
python benchmarks/train_domain_networks.py --data cifar10 --root cifar10.zip --out cifar10.safetensors
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from fmlab import data
from fmlab.metrics.domain import load_bytes
from fmlab.metrics.domain_training import SHIPPED_RECIPES, trained_for
from fmlab.records import atomic_write_bytes


def shipped_source(name: str, root: Path) -> data.DataModule:
    """The data of a shipped classifier; CIFAR-10 also as a folder or a zip of `train/class/` and `test/class/`."""
    if name == "digits":
        return data.Digits()
    if name == "fashion_mnist":
        return data.FashionMNIST(root=str(root))
    if root.suffix == ".zip" or (root / "train").is_dir():
        return data.ImageFolder(path=str(root), size=32)
    return data.CIFAR10(root=str(root))


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains one of the classifiers that ship and writes its file."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--data", choices=sorted(SHIPPED_RECIPES), required=True)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where the images lie")
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    chosen = parser.parse_args(arguments)
    content = trained_for(shipped_source(chosen.data, chosen.root), SHIPPED_RECIPES[chosen.data])
    atomic_write_bytes(chosen.out, content)
    network = load_bytes(content)
    print(f"{chosen.out}: {len(content):,} bytes, weights {network.weights_hash[:16]}")
    print(f"accuracy on {network.metadata['held_out_images']} held-out images: {network.metadata['held_out_accuracy']}")


if __name__ == "__main__":
    main()
