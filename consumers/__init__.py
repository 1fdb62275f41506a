"""Records in and out: bytes to and from Kafka, exactly once, and the loop that drives the service.

In reading order:

    transport.py    records as columns; the protocols Transport, Reader and Handler; the steps of a commit
    loop.py         run(): poll, handle, commit, promote; recovery, commits in doubt, shutdown
    refusals.py     answers that their topic refuses: which record, and when it is tried again
    health.py       what other threads see of the loop; deadlines and the watchdog
    membership.py   the partitions of one group member: waiting, paused, sought
    positions.py    at least once: positions that are committed after their answers
    marks.py        what is committed beside a position, as both clients can read it
    committing.py   the steps of a commit and the sorting of errors, which the clients share
    reading.py      the same for readers: ranges of records, topics that must exist, users that are refused
    background.py   client calls without a deadline of their own
    handshake.py    why a broker refuses a connection, before a client begins
    complaints.py   what clients write to their logs, as a line a minute
    kafka_python/   the protocols over Apache Kafka through kafka-python, the default
    librdkafka/     the same through confluent-kafka: optional, and much faster
    memory/         the same over a broker in this process, for the demo and the simulation

Each client has a transport.py (a group member) and a reader.py (no group); kafka_python also has a rebalances.py, and
memory a broker.py.

Nothing here imports another room.
"""
