"""The claims that this project started from: ``python -m benchmarks.claims``.

``finding`` is a result, ``problems`` are small tasks that separate architectures, ``speed`` has the claims on speed and
size.
"""
