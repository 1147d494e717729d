"""The roofline for the page: the roofs of this machine, and every kernel as a point below them."""

from __future__ import annotations

from typing import Any

from graphc.runtime.limits import Limits
from graphc.runtime.profile import COPIES, Profile
from graphc.runtime.roofline import Roofline, roofline
from graphc.runtime.stages import Stages


def work(found: Roofline, said: str) -> dict[str, Any]:
    """A roofline as the page takes it. `said` tells on what inputs it was measured."""
    limits, profile = found.limits, found.profile
    head = f"{profile.repeats} steps on {said}; "
    if profile.step is not None:
        head += f"a step takes {profile.step * 1e6:,.1f} microseconds without time stamps, "
    head += f"its kernels {profile.seconds * 1e6:,.1f} together"
    copies = [point.seconds for point in found.points if point.kernel == COPIES]
    head += f", of which {copies[0] * 1e6:,.1f} to copy variables at the end." if copies else "."
    return {
        "peaks": dict(limits.gflops),
        "bandwidths": {level.name: level.gbytes for level in limits.levels},
        "said": head,
        "rows": [
            {
                "number": number,
                "seconds": point.seconds,
                "share": point.share,
                "intensity": point.intensity,
                "gflops": point.gflops,
                "fraction": point.fraction,
                "bound": point.bound,
            }
            for number, point in enumerate(found.points)
            if point.kernel != COPIES
        ],
    }


def watched(stages: Stages, profile: Profile, limits: Limits) -> dict[str, Any]:
    """The same of the steps that a running program has made since it is watched."""
    return work(roofline(stages, profile, limits), "the batches of the training")
