"""The composition root: command line, commands, settings, and the ``Forecaster`` for notebooks."""
