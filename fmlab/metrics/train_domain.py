"""How the classifiers behind `val/fid_domain` are trained; as a script it makes the three that ship.

    python -m fmlab.metrics.train_domain --data digits --out digits.safetensors
    python -m fmlab.metrics.train_domain --data cifar10 --root cifar10.zip --out cifar10.safetensors

One file holds the weights in half precision and, as metadata, the recipe and the accuracy on held-out images of exactly
those weights.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fmlab.metrics.cache import write_atomically
from fmlab.metrics.domain import DomainClassifier, load_bytes, to_bytes
from fmlab.metrics.source import Source
from fmlab.random import Purpose, keyed_generator

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Recipe:
    """What decides a classifier besides its data; its fields go into the file's metadata.

    Args:
        width: Channels of the first layer.
        images: Training images seen, repeats counted.
        flip: Whether images are mirrored at random.
        batch_size: Images a step.
        learning_rate: Peak of the one-cycle schedule.
        weight_decay: Weight decay of SGD.
        label_smoothing: Of the cross-entropy.
        seed: Keys the initial weights, the order, the crops and the flips.
    """

    width: int = 24
    images: int = 400_000
    flip: bool = False
    batch_size: int = 128
    learning_rate: float = 0.1
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    seed: int = 0


def random_crops(images: Tensor, padding: int, generator: torch.Generator) -> Tensor:
    """Each image moved by up to `padding` pixels either way; what comes in at the edge repeats the border."""
    height, width = images.shape[-2:]
    padded = F.pad(images.float(), [padding] * 4, mode="replicate").to(images.dtype)
    rows, columns = torch.randint(2 * padding + 1, (2, len(images), 1), generator=generator)
    rows, columns = rows + torch.arange(height), columns + torch.arange(width)
    picked = padded.permute(0, 2, 3, 1)[torch.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None]]
    return picked.permute(0, 3, 1, 2)


def batches(images: Tensor, labels: Tensor, recipe: Recipe, steps: int) -> Iterator[tuple[Tensor, Tensor]]:
    """`steps` augmented batches, epoch after epoch, each epoch in an order of its own."""
    generator = keyed_generator(recipe.seed, Purpose.AUGMENT)
    size, order = min(recipe.batch_size, len(images)), torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(order) < size:
            order = torch.randperm(len(images), generator=generator)
        chosen, order = order[:size], order[size:]
        x = random_crops(images[chosen], max(1, min(images.shape[-2:]) // 10), generator)
        if recipe.flip:
            mirrored = torch.rand(size, generator=generator) < 0.5
            x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
        yield x, labels[chosen]


@torch.inference_mode(False)  # it may be needed in the middle of a validation
@torch.enable_grad()
def train_classifier(
    images: Tensor, labels: Tensor, num_classes: int, recipe: Recipe, device: torch.device = _CPU
) -> DomainClassifier:
    """A classifier trained on uint8 images (N, C, H, W) and int64 labels (N,); the same every time on one machine."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(recipe.seed)  # this one alone: the GPUs' are not ours to touch
        network = DomainClassifier(images.shape[1:], num_classes, recipe.width)
    network = network.to(device).to(memory_format=torch.channels_last).train()
    steps = max(1, recipe.images // recipe.batch_size)
    optimizer = torch.optim.SGD(
        network.parameters(), recipe.learning_rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=steps + 1, pct_start=0.2, cycle_momentum=False
    )
    with torch.autocast(device.type, enabled=False):
        for x, y in batches(images, labels, recipe, steps):
            logits = network.logits(x.to(device))
            loss = F.cross_entropy(logits, y.to(device), label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.to("cpu")


SHIPPED_RECIPES = {
    "digits": Recipe(images=60_000),
    "fashion_mnist": Recipe(images=300_000, flip=True),
    "cifar10": Recipe(width=32, images=200_000, flip=True),
}


def recipe_for(data: Source, images: int) -> Recipe:
    """The recipe for a set of so many training images that has no recipe of its own."""
    return Recipe(images=min(300_000, max(20_000, 40 * images)), flip=bool(getattr(data, "flip", False)))


def network_file_name(data: Source) -> str:
    """Name of the file of a set's own classifier; it follows from the images, the labels and the recipe."""
    images, labels = data.labelled_images("train")
    digest = hashlib.sha256(repr((recipe_for(data, len(images)), tuple(images.shape), data.num_classes)).encode())
    for part in (images, labels):
        digest.update(part.contiguous().numpy().tobytes())
    return f"domain-{digest.hexdigest()[:16]}.safetensors"


def trained_for(data: Source, recipe: Recipe | None = None) -> bytes:
    """The file of a classifier trained on a labelled set, on the GPU where there is one."""
    images, labels = data.labelled_images("train")
    recipe = recipe or recipe_for(data, len(images))
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else _CPU
    network = train_classifier(images, labels, int(data.num_classes or 0), recipe, device)
    return with_accuracy(network, *data.labelled_images("validation"), recipe)


def with_accuracy(network: DomainClassifier, images: Tensor, labels: Tensor, recipe: Recipe) -> bytes:
    """The file of a classifier, with its recipe and the accuracy that the rounded weights reach on held-out images."""
    metadata: dict[str, object] = {f"recipe.{key}": value for key, value in dataclasses.asdict(recipe).items()}
    if len(images):
        accuracy = load_bytes(to_bytes(network, {})).accuracy(images, labels)
        metadata |= {"held_out_accuracy": accuracy, "held_out_images": len(images)}
    return to_bytes(network, metadata)


def shipped_source(name: str, root: Path) -> Source:
    """The data of a shipped classifier; CIFAR-10 also as a folder or a zip of `train/class/` and `test/class/`."""
    from fmlab import data

    if name == "digits":
        return data.Digits()
    if name == "fashion_mnist":
        return data.FashionMNIST(root=str(root))
    if root.suffix == ".zip" or (root / "train").is_dir():
        return data.ImageFolder(path=str(root), size=32)
    return data.CIFAR10(root=str(root))


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains one of the classifiers that ship and writes its file."""
    parser = argparse.ArgumentParser(prog="python -m fmlab.metrics.train_domain", description=main.__doc__)
    parser.add_argument("--data", choices=sorted(SHIPPED_RECIPES), required=True)
    parser.add_argument("--root", type=Path, default=Path("data"), help="where the images lie")
    parser.add_argument("--out", type=Path, required=True, help="the safetensors file to write")
    chosen = parser.parse_args(arguments)
    content = trained_for(shipped_source(chosen.data, chosen.root), SHIPPED_RECIPES[chosen.data])
    write_atomically(chosen.out, content)
    network = load_bytes(content)
    print(f"{chosen.out}: {len(content):,} bytes, weights {network.weights_hash[:16]}")
    print(f"accuracy on {network.metadata['held_out_images']} held-out images: {network.metadata['held_out_accuracy']}")


if __name__ == "__main__":
    main()
