"""One thread a process: the tests run side by side, and their networks are tiny."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
