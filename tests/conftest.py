"""Fixtures that many tests share: a real Kafka for the session."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported: two threads of this size of work are slower

from harness.local_kafka import LocalKafka, available


@pytest.fixture(scope="session")
def local_kafka() -> Iterator[LocalKafka]:
    """A Kafka of this session's own, which a test may freeze or restart; skips where there is no Java, fails in CI."""
    if (reason := available()) is not None:
        if os.environ.get("CI"):
            pytest.fail(f"a real Kafka must run in CI: {reason}")
        pytest.skip(reason)
    with LocalKafka() as kafka:
        yield kafka


@pytest.fixture(scope="session")
def kafka(request: pytest.FixtureRequest) -> str:
    """The bootstrap servers of a real Kafka: STREAMCAST_TEST_BOOTSTRAP, else the session's own."""
    return os.environ.get("STREAMCAST_TEST_BOOTSTRAP") or request.getfixturevalue("local_kafka").bootstrap_servers
