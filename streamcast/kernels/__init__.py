"""Numba loops over the state arrays: the only room that imports numba.

In the order of a record's way: ``advance`` (bars, windows, features), ``waves`` (steps that can run together),
``rings`` (past outputs for the read-out), ``readout`` (sums of the aligned read-out), ``online`` (the online layer),
``scoring`` (forecasts compared with their outcome), ``text`` (forecasts as JSON bytes).  ``loops`` says how kernels are
compiled, ``outcomes`` has the outcome codes of records, and ``compiling`` tells when numba compiles instead of taking a
kernel from its cache.

Every kernel is one plain loop in the offset order of each series.  It changes only its arguments.  A file reads from
the top: first the kernel that the other rooms call, then its parts in the order of their calls.
"""
