"""Coverage is not measured here: it doubles the time of these simulations, whose code tests/client covers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from coverage import Coverage


@pytest.fixture(scope="module", autouse=True)
def without_coverage() -> Iterator[None]:
    coverage = Coverage.current()
    if coverage is None:
        yield
        return
    coverage.stop()
    yield
    coverage.start()
