"""Numba loops over slabs: the only room that imports numba.

Read in the order a record passes through: ``advance`` (bars, windows, features), ``waves`` (which steps may
go together), ``memory`` (past outputs for the read-out), ``outcome`` (scores of forecasts that came due),
``text`` (forecasts as JSON bytes).

Every kernel is one plain loop in offset order; what it may change it gets as an argument.
"""
