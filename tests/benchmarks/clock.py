"""What time is measured by.

The wall's clock counts everything. The processor's counts what this process computed, all its
threads together: with one thread it is the time that the same work takes where nobody else wants
the core, which makes figures from a busy machine comparable.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Literal

Clock = Literal["wall", "processor"]
CLOCKS: Mapping[Clock, Callable[[], float]] = {
    "wall": time.perf_counter,
    "processor": time.process_time,
}
