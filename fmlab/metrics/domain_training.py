"""How the classifiers behind `val/fid_domain` are trained; `benchmarks/train_domain_networks.py` makes those that ship.

One file holds the weights in half precision and, as metadata, the recipe and the accuracy on held-out images of exactly
those weights.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fmlab.errors import UserError
from fmlab.metrics.cache import load_or_make
from fmlab.metrics.domain import DomainClassifier, load_bytes, shipped_names, shipped_network, to_bytes
from fmlab.metrics.reference import ReferenceData
from fmlab.random import Purpose, fixed_generator

_CPU = torch.device("cpu")


@dataclass(frozen=True)
class Recipe:
    """What decides a classifier besides its data; its fields go into the file's metadata.

    Args:
        width: Channels of the first layer.
        images: Training images seen, repeats counted.
        flip: Whether images are mirrored at random.
        batch_size: Images per step.
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
    generator = fixed_generator(recipe.seed, Purpose.AUGMENT)
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


def recipe_for(data: ReferenceData, images: int) -> Recipe:
    """The recipe for a set of so many training images that has no recipe of its own."""
    return Recipe(images=min(300_000, max(20_000, 40 * images)), flip=bool(getattr(data, "flip", False)))


def network_file_name(data: ReferenceData) -> str:
    """Name of the file of a set's own classifier; it follows from the images, the labels and the recipe."""
    images, labels = data.labelled_images("train")
    digest = hashlib.sha256(repr((recipe_for(data, len(images)), tuple(images.shape), data.num_classes)).encode())
    for part in (images, labels):
        digest.update(part.contiguous().numpy().tobytes())
    return f"domain-{digest.hexdigest()[:16]}.safetensors"


def trained_for(data: ReferenceData, recipe: Recipe | None = None) -> bytes:
    """The file of a classifier trained on a labelled set, on the GPU where there is one, with its held-out accuracy."""
    images, labels = data.labelled_images("train")
    recipe = recipe or recipe_for(data, len(images))
    device = torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else _CPU
    network = train_classifier(images, labels, int(data.num_classes or 0), recipe, device)
    metadata: dict[str, object] = {f"recipe.{key}": value for key, value in dataclasses.asdict(recipe).items()}
    images, labels = data.labelled_images("validation")
    if len(images):
        accuracy = load_bytes(to_bytes(network, {})).accuracy(images, labels)  # of the weights as they are rounded
        metadata |= {"held_out_accuracy": accuracy, "held_out_images": len(images)}
    return to_bytes(network, metadata)


def domain_network(data: ReferenceData, cache_dir: str | Path) -> DomainClassifier:
    """The classifier for a labelled set of images: one that ships, or one trained once and kept in `cache_dir`.

    Of several processes one trains, and the others wait for its file.

    Raises:
        UserError: The set has no labels, one class only, or does not fit in memory.
    """
    for name in shipped_names(data):
        network = shipped_network(name)
        if network.shape == tuple(data.shape):
            return network
    if data.num_classes is None or data.num_classes < 2:
        raise UserError("domain features need images of two or more classes", hint="choose features: random")
    if not getattr(data, "in_memory", True):
        raise UserError("domain features need images that fit in memory", hint="choose features: inception or random")
    path = Path(cache_dir) / network_file_name(data)
    return load_or_make(path, lambda path: load_bytes(path.read_bytes()), lambda: trained_for(data))
