"""Breaks of the room `data`."""

from breaks.mutant import Mutant

MUTANTS = [
    Mutant(
        "a step of data skipped on resuming",
        "data/loading.py",
        '"rows": done * self._rows_a_batch',
        '"rows": (done + 1) * self._rows_a_batch',
        "tests/data/test_resume.py",
    ),
    Mutant(
        "both ranks read the same rows",
        "data/order.py",
        "start = (index * self.world_size + self.rank) * self.batch_size",
        "start = index * self.world_size * self.batch_size",
        "tests/data/test_order.py",
    ),
    Mutant(
        "the rounding of pixels",
        "data/pixels.py",
        "* 127.5 + 128.0)",
        "* 127.5 + 127.5)",
        "tests/data/test_pixels.py",
    ),
    Mutant(
        "cells above their level",
        "data/dequantisation.py",
        "(uniform * width - self._below.to(images.device)[rows])",
        "(uniform * width)",
        "tests/data/test_dequantisation.py",
    ),
    Mutant(
        "the width of a cell in grey levels",
        "data/dequantisation.py",
        "(width / 127.5).log()",
        "width.log()",
        "tests/data/test_dequantisation.py",
    ),
    Mutant(
        "the digits with all levels",
        "data/digits.py",
        "grey_levels = tuple(round(255 * level / 16) for level in range(17))",
        "grey_levels = range(256)",
        "tests/data/test_dequantisation.py",
    ),
    Mutant(
        "an augmentation of one's own left out",
        "data/base.py",
        "return self.flip or type(self).augment is not ImageData.augment",
        "return self.flip",
        "tests/data/test_data_modules.py",
    ),
    Mutant(
        "a zip whose paths leave it",
        "data/decoding.py",
        'or ".." in parts',
        'or ".." in name[:0]',
        "tests/data/test_image_folder.py",
    ),
]
