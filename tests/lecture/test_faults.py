"""A planted fault makes the quick slice of an example fail, and say where."""

from __future__ import annotations

import pytest

from tests.lecture.faults import FAULTS, Fault
from tests.test_lecture import example

PLANTED = [(name, fault) for name, faults in FAULTS.items() for fault in faults]


@pytest.mark.parametrize(("name", "fault"), PLANTED, ids=lambda v: getattr(v, "__name__", v))
def test_a_planted_fault_is_found(
    name: str,
    fault: Fault,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The slice ends with 1, and says which of its claims do not hold."""
    module = example(name, request)
    fault(monkeypatch, module)
    with pytest.raises(SystemExit) as ended:
        module.main(["--quick"])
    assert ended.value.code == 1
    failed = [line for line in capsys.readouterr().err.splitlines() if line.startswith("FAILED: ")]
    for claim in FAULTS[name][fault]:
        assert any(claim in line for line in failed), claim
