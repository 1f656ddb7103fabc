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
        "a zip whose paths leave it",
        "data/decoding.py",
        'or ".." in parts',
        'or ".." in name[:0]',
        "tests/data/test_image_folder.py",
    ),
]
