"""The judge of forecasts on real streams: ``python -m benchmarks.streams``.

In reading order: ``sets`` (files, regular grids, places to forecast from), ``scores``, ``request`` (what is asked of a
forecaster, and what it gives), ``models`` (ours), ``others`` (what we are compared with), ``output`` (tables and the
picture), ``__main__`` (the command).
"""
