"""The composition root: command line, commands, settings, and ``Forecaster`` for notebooks.

``cli`` declares the commands, ``options`` the groups of their options, ``commands`` does the work, ``settings`` reads
the settings file, ``specs`` says in words why a user's choices cannot be a model, ``gaps`` and ``notes`` have sentences
about a history and a new spec, and ``trained`` says how good a model is.

``forecaster`` is the interface for notebooks, with ``arguments`` (each of its kind), ``frames`` (data frames as people
have them), ``stream`` (one observation at a time, with its ``live_values``) and ``plots``.  Both ways share
``json_text``, ``moments`` and ``progress``; ``demo_data`` has the demo's series.
"""
