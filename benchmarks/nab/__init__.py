"""The Numenta Anomaly Benchmark: ``python -m benchmarks.nab``; ``scores`` has its rules."""
