"""What all tests share: a real Kafka for the session, and which tests are slow or belong on one worker."""

from __future__ import annotations

import gc
import logging
import os
from collections.abc import Generator, Iterator
from importlib.util import find_spec

import pytest
from hypothesis import settings

# Before torch is imported, and in every worker: two threads are slower for work of this size.
os.environ["OMP_NUM_THREADS"] = "1"

from harness.local_kafka import LocalKafka, available

# The first example compiles a kernel, and a busy machine is slow: neither is a fault.
settings.register_profile("streamcast", deadline=None)
settings.load_profile("streamcast")

LONG_PROGRAMMES = (
    "tests/benchmarks/test_streams.py",
    "tests/consumers/test_late_requests.py",
    "tests/consumers/test_loop.py::test_no_sequence_of_faults_loses_or_doubles_a_record_or_spoils_a_state",
    "tests/end_to_end/",
    "tests/laws/",
    "tests/models/test_advisor.py::test_all_advice",
    "tests/models/test_aligned.py::test_it_learns",
    "tests/models/test_head.py::test_a_head_learns",
    "tests/models/test_network.py::TestTraining",
    "tests/streamcast/app/test_backtest_command.py",
    "tests/streamcast/app/test_cli.py",
    "tests/streamcast/app/test_commands.py",
    "tests/streamcast/app/test_compiling.py",
    "tests/streamcast/app/test_forecaster.py",
    "tests/streamcast/app/test_frames.py",
    "tests/streamcast/app/test_train_command.py",
    "tests/streamcast/app/test_tune.py",
    "tests/streamcast/engine/test_bounds.py",
    "tests/streamcast/offline/test_accuracy.py",
    "tests/streamcast/offline/test_backtest.py",
    "tests/streamcast/offline/test_bars.py",
    "tests/streamcast/offline/test_baselines.py",
    "tests/streamcast/offline/test_classical.py",
    "tests/streamcast/offline/test_history.py::test_a_years_local_times_come_back_over_both_changes_of_the_clock",
    "tests/streamcast/offline/test_sequences.py",
    "tests/streamcast/offline/test_training.py",
    "tests/streamcast/service/test_recovery.py::test_a_replay_that_is_interrupted_anywhere",
    "tests/streamcast/service/test_snapshots.py::test_a_process_ends_although_its_store_hangs",
    "tests/streamcast/spec/test_folders.py::test_loading_takes_the_memory_of_the_weights",
    "tests/streamcast/topics/test_observations.py::test_what",
    "tests/test_compile_kernels.py",
    "tests/test_docs.py",
    "tests/test_docs_notebooks.py",
)
"""Tests that train, stream, start programs or draw many examples: marked ``slow``, and left out by `make quick`."""

OWN_BROKER = "tests/end_to_end/test_faults.py"
"""The longest file that needs a Kafka, and mostly waits: a worker of its own starts one for it."""

SPREAD = ("tests/laws/", "tests/end_to_end/test_simulation.py")
"""Tests without a shared fixture that take long: all workers run them."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import all tests without looking for garbage: a million objects that stay, and a quarter of the time."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the slow tests, and group tests that share an expensive fixture, so that one worker runs each group."""
    for item in items:
        file = item.nodeid.partition("::")[0]
        if item.nodeid.startswith(LONG_PROGRAMMES):
            item.add_marker(pytest.mark.slow)
        needs = [name for name in ("kafka", "browser", "prometheus") if item.get_closest_marker(name)]
        if needs or not file.startswith(SPREAD):
            item.add_marker(pytest.mark.xdist_group(file if not needs or file == OWN_BROKER else needs[0]))


@pytest.fixture(autouse=True)
def level_of_logs() -> Iterator[None]:
    """Restore what is logged: a command that a test runs in this process logs from INFO on."""
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)


@pytest.fixture
def caplog(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """All logs but kafka-python's own: a client of another test may still be closing, in a thread of its own."""

    def ours(record: logging.LogRecord) -> bool:
        return record.name.partition(".")[0] != "kafka"

    caplog.handler.addFilter(ours)
    yield caplog
    caplog.handler.removeFilter(ours)


@pytest.fixture(scope="session")
def statsforecast() -> None:
    """The package of AutoETS and AutoTheta; skips where it is not installed, fails in CI."""
    if find_spec("statsforecast") is None:
        reason = "needs statsforecast: pip install 'streamcast-forecasting[classical]'"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


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
