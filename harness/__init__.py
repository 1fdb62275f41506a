"""What tests and benchmarks share, in no wheel: local Kafka, fault programme, simulation, builders."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
"""The checkout."""

SHARED_DATA = ROOT.parent / "shared" / "data"
"""Real data beside the checkout; tests that need it skip where it is absent."""
