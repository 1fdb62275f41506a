"""Small whole tasks, each a command: ``python -m examples.heart_rate`` and so on, from the project's root.

- ``heart_rate``: anomalies of a wearable's heart rate, with a model of bytes
- ``long_memory``: accounts whose risk hangs on an event more than a thousand bars ago
- ``sensors``: equipment sensors, GRU against LSTM by the microsecond
- ``direction``: which way an index goes, and a random walk that finds leaks
- ``irregular``: readings at irregular times, with cells that take the time step
"""
