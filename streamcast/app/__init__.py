"""The composition root: command line, commands, settings, and ``Forecaster`` for notebooks.

``cli`` declares the commands, ``options`` the groups of their options, ``commands`` does the work, ``settings`` reads
the settings file, ``specs`` makes model specs from a user's choices, ``forecaster`` is the interface for notebooks,
with ``frames`` (data frames as people have them) and ``plots``, ``demo_data`` has the demo's series.
"""
