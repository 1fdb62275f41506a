"""Speed, accuracy and faults: commands that print a table and write a JSON; ``python -m benchmarks.NAME``.

How good forecasts are: ``streams`` (the judge, on real streams), ``other_sets``, ``package_sets`` (more sets for it),
``accuracy`` and ``intervals`` (ETT), ``nab`` (anomalies), ``forecasters`` (the zoo).  What they cost: ``engine``,
``throughput``, ``operations``, ``partitions``, ``devices``.  What breaks: ``faults``, ``object_store``, ``soak`` on a
real Kafka, ``simulate`` by the thousand, ``fuzz``.  ``claims``: what this project started from.

``service`` is the service in a process of its own, ``children`` are processes that end with the benchmark, ``timing``
and ``printing`` are shared.
"""
