"""Small complete tasks, each a command: ``python -m examples.heart_rate`` and so on, from the project's root.

- ``heart_rate``: anomalies of a wearable's heart rate, with an int8 model (``anomalies`` has the detector)
- ``long_memory``: accounts whose risk depends on an event more than a thousand bars ago
- ``sensors``: equipment sensors, GRU against LSTM by the microsecond
- ``direction``: the direction of an index, beside a random walk that would show a leak of the future
- ``irregular``: readings at irregular times, with cells that use the time step
"""
