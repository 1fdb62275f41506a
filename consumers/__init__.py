"""How records get in and out: bytes to and from Kafka, exactly once, and the loop that drives the service.

In reading order:

    transport.py          records as columns; Transport, Reader and Handler: the protocols
    loop.py               run(): poll, handle, commit, promote; recovery, doubt, deadlines, shutdown
    memory.py             the protocols over a broker in this process: the demo's default, the simulation's subject
    memory_broker.py      that broker: partitions, groups, transactions, read_committed, injected clock and faults
    kafka.py              Transport over Apache Kafka through kafka-python, the default
    kafka_reader.py       Reader of the same client: what needs no group
    librdkafka.py         Transport through confluent-kafka, an extra, for speed
    librdkafka_reader.py  its Reader
    following.py          at least once: positions that are committed after their answers
    background.py         client calls that know no deadline
    broker.py             starts a local Apache Kafka for tests and benchmarks

Nothing here imports streamcast or models.
"""
