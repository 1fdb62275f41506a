"""The outcome codes of a record."""

from __future__ import annotations

from streamcast.kernels import outcomes


def test_outcome_codes_never_change_because_cached_kernels_hold_them() -> None:
    codes = (outcomes.ANSWERED, outcomes.ABSORBED, outcomes.LATE, outcomes.DUPLICATE, outcomes.NOT_FINITE)
    assert codes == (0, 1, 2, 3, 4)


def test_every_outcome_has_a_name() -> None:
    assert outcomes.NAMES[outcomes.ABSORBED] == "absorbed"
    assert outcomes.NAMES[outcomes.NOT_FINITE] == "not finite"
    assert len(set(outcomes.NAMES)) == 5
