"""Are the generated digits digits? `python benchmarks/digits_quality.py RUN [--guidance.scale 2]`

Three questions, each answered with classifiers that the run never saw (support vector machines on raw pixels):

* does a classifier trained on the real training digits see the wanted class in 1,000 generated images;
* does a classifier trained on 1,500 generated images read the real held-out digits;
* are generated images nearer to the training set than real held-out ones are (memorisation)?
"""

from __future__ import annotations

import argparse

import torch
from sklearn.svm import SVC
from torch import Tensor

import fmlab
from fmlab.data import Digits
from fmlab.data.pixels import to_float, to_uint8
from fmlab.inference.trained import Trained


def generated(trained: Trained, n: int, seed: int, options: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """`n` images rounded as if they were saved, flat and in [-1, 1], and their labels, all classes alike."""
    labels = torch.arange(n) % 10
    images = trained.generate(labels=labels, guidance=options.guidance_scale, steps=options.steps, seed=seed)
    return to_float(to_uint8(images)).flatten(1), labels


def real(data: Digits, split: str) -> tuple[Tensor, Tensor]:
    images, labels = data.labelled_images(split)
    return to_float(images).flatten(1), labels


def agreement(train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor]) -> float:
    """The share of `test` that a classifier trained on `train` gets right."""
    classifier = SVC(C=10, gamma="scale").fit(train[0].numpy(), train[1].numpy())
    return float(classifier.score(test[0].numpy(), test[1].numpy()))


def nearest_distance(images: Tensor, training: Tensor) -> Tensor:
    """Each image's Euclidean distance to the nearest training image."""
    return torch.cdist(images, training).amin(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--guidance.scale", dest="guidance_scale", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=20, help="Heun steps")
    parser.add_argument("--checkpoint", default="best")
    options = parser.parse_args()
    trained, data = fmlab.load(options.run, options.checkpoint), Digits()
    train, held_out = real(data, "train"), real(data, "validation")
    generated_set, more = generated(trained, 1000, 10**6, options), generated(trained, 1500, 2 * 10**6, options)
    origin = trained.origin
    print(f"run {origin.run}, step {origin.step}, guidance scale {options.guidance_scale}, Heun {options.steps}")
    print(f"real classifier on real held-out digits      {agreement(train, held_out):.3f}")
    print(f"real classifier on 1,000 generated digits    {agreement(train, generated_set):.3f}")
    print(f"classifier of 1,500 generated on held-out    {agreement(more, held_out):.3f}")
    for name, images in (("generated", generated_set[0]), ("held-out", held_out[0])):
        distance = nearest_distance(images, train[0])
        print(f"nearest training digit, {name:9}      {distance.median():.3f} median, {distance.min():.3f} least")


if __name__ == "__main__":
    main()
