"""Tests of streamcast; `reference.py` holds the slow, obvious oracles.

Hypothesis draws the same examples in every run and never fails for being slow: machines are shared.
"""

from hypothesis import settings

settings.register_profile("streamcast", deadline=None, derandomize=True)
settings.load_profile("streamcast")
