"""Speed of the service on a real Kafka: ``python -m benchmarks.throughput``.

In reading order: ``case`` (what is measured), ``loops`` (what the service is compared with), ``rate``, ``latency``,
``tables``, ``__main__`` (the command).
"""
