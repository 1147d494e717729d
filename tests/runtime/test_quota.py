"""Quotas of control groups: both versions, nested, and as a container shows them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from graphc.runtime import quota

V1 = "11:memory:/a\n4:cpu,cpuacct:/a/b\n1:name=systemd:/a/b\n"
TREES: dict[str, tuple[str, Mapping[str, str], int | None]] = {
    "version 2": ("0::/\n", {"cpu.max": "200000 100000"}, 2),
    "version 2, a part of a processor": ("0::/\n", {"cpu.max": "250000 100000"}, 3),
    "version 2, no limit": ("0::/\n", {"cpu.max": "max 100000"}, None),
    "version 2, nested": (
        "0::/slice/job\n",
        {"slice/cpu.max": "max 100000", "slice/job/cpu.max": "100000 100000"},
        1,
    ),
    "version 2, limited from above": (
        "0::/slice/job\n",
        {"slice/cpu.max": "300000 100000", "slice/job/cpu.max": "800000 100000"},
        3,
    ),
    "version 2, another group's": ("0::/slice/job\n", {"slice/other/cpu.max": "1 1"}, None),
    "version 2 in a container": ("0::/host/of/it\n", {"cpu.max": "400000 100000"}, 4),
    "version 2 above the namespace": ("0::/../job\n", {"job/cpu.max": "50000 100000"}, 1),
    "version 1": (
        V1,
        {
            "cpu,cpuacct/a/b/cpu.cfs_quota_us": "150000\n",
            "cpu,cpuacct/a/b/cpu.cfs_period_us": "50000\n",
        },
        3,
    ),
    "version 1 by its own name": (
        V1,
        {"cpu/a/cpu.cfs_quota_us": "200000\n", "cpu/a/cpu.cfs_period_us": "100000\n"},
        2,
    ),
    "version 1, no limit": (
        V1,
        {"cpu/a/b/cpu.cfs_quota_us": "-1\n", "cpu/a/b/cpu.cfs_period_us": "100000\n"},
        None,
    ),
    "both, the groups of version 2 beside": (
        V1 + "0::/x\n",
        {
            "cpu/cpu.cfs_quota_us": "900000\n",
            "cpu/cpu.cfs_period_us": "100000\n",
            "unified/x/cpu.max": "500000 100000",
        },
        5,
    ),
    "nonsense": ("0::/\nno line\n", {"cpu.max": "many of 0"}, None),
    "a period of nothing": ("0::/\n", {"cpu.max": "100 0"}, None),
    "nothing": ("", {"cpu.max": "100000 100000"}, None),
}


@pytest.mark.parametrize("name", TREES)
def test_what_a_tree_grants(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own, files, expected = TREES[name]
    (tmp_path / "own").write_text(own)
    for path, text in files.items():
        (tmp_path / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / path).write_text(text)
    monkeypatch.setattr(quota, "OWN", tmp_path / "own")
    monkeypatch.setattr(quota, "ROOT", tmp_path / "tree")
    assert quota.granted() == expected


def test_a_system_without_control_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quota, "OWN", tmp_path / "missing")
    assert quota.granted() is None
