"""A backtest as one HTML file that a manager can read: no network, no other file, no program but a browser.

In reading order: ``facts`` (what it is about), ``chosen`` (what of a long backtest it shows), ``charts``, and ``page``
(the verdict, forecasts beside outcomes, error by step and over time, coverage by month, a table of the series, and what
the words mean).  Plotly's script is part of the file.
"""
