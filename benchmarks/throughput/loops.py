"""Two loops to compare the service with: the least that any service does, and one written by hand.

``bare`` decodes each record and sends a fixed answer of the usual size.  ``per_record`` keeps a dict of hidden
states and steps nn.GRU of 2 × 64 once per record.  Both wait for acknowledgements before they commit, and both
give an answer its record's timestamp, so that a reader can compute the answer's age.

    python -m benchmarks.throughput.loops BOOTSTRAP IN OUT RECORDS --client kafka-python --loop bare
        --guarantee exactly_once
"""

from __future__ import annotations

import argparse
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import orjson

from benchmarks.children import end_with_parent

Answer = Callable[[str, list[float]], Any]
HORIZON, QUANTILES, HIDDEN, LAYERS = 24, 3, 64, 2
IDLE_SECONDS = 20.0


def bare() -> Answer:
    """Return a fixed answer, which costs nothing to compute."""
    fixed = [[round(0.123456 * step, 6) for step in range(HORIZON)]] * QUANTILES
    return lambda _key, _values: fixed


def per_record() -> Answer:
    """Return the answer of a GRU stepped once per record."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    rnn, head = torch.nn.GRU(3, HIDDEN, LAYERS), torch.nn.Linear(HIDDEN, HORIZON * QUANTILES)
    states: dict[str, torch.Tensor] = {}

    @torch.inference_mode()
    def answer(key: str, values: list[float]) -> Any:
        out, states[key] = rnn(torch.tensor([[values]]), states.get(key))
        return head(out[0]).view(QUANTILES, HORIZON).tolist()

    return answer


def encode(answer: Answer, raw: bytes) -> bytes:
    """Return the forecast for one record."""
    message = orjson.loads(raw)
    forecast = answer(message["key"], message["values"])
    return orjson.dumps({"unique_id": message["key"], "cutoff": message["ts"], "quantiles": forecast})


def run_kafka_python(a: argparse.Namespace, answer: Answer) -> float:
    """Answer the records through kafka-python; return records/s."""
    from kafka import KafkaConsumer, KafkaProducer
    from kafka.structs import OffsetAndMetadata

    group, exactly = uuid.uuid4().hex, a.guarantee == "exactly_once"
    consumer = KafkaConsumer(
        a.topic_in, bootstrap_servers=a.bootstrap, group_id=group, auto_offset_reset="earliest",
        enable_auto_commit=False, max_poll_records=a.poll, isolation_level="read_committed",
    )  # fmt: skip
    producer = KafkaProducer(
        bootstrap_servers=a.bootstrap, linger_ms=5, batch_size=131_072, retry_backoff_ms=5,
        **({"transactional_id": group} if exactly else {}),
    )  # fmt: skip
    if exactly:
        producer.init_transactions()
    seen, started, last = 0, 0.0, time.perf_counter()
    print("ready", flush=True)
    while seen < a.records:
        polled = consumer.poll(200)
        now = time.perf_counter()
        if a.polls:
            arrived = time.time()
            a.noted += [(arrived, tp.partition, records[-1].offset + 1) for tp, records in polled.items()]
        if not polled:
            if now - last > IDLE_SECONDS:
                break
            continue
        started = started or now
        if exactly:
            producer.begin_transaction()
        futures = [
            producer.send(a.topic_out, key=r.key, value=encode(answer, r.value), timestamp_ms=r.timestamp)
            for records in polled.values()
            for r in records
        ]
        producer.flush()
        for future in futures:
            future.get(10)
        positions = {tp: OffsetAndMetadata(consumer.position(tp), "", -1) for tp in polled}
        if exactly:
            producer.send_offsets_to_transaction(positions, consumer.group_metadata())
            producer.commit_transaction()
        else:
            consumer.commit(positions)
        seen += len(futures)
        last = time.perf_counter()
    consumer.close(autocommit=False)
    producer.close()
    return seen / (last - started)


def run_confluent(a: argparse.Namespace, answer: Answer) -> float:
    """Answer the records through confluent-kafka; return records/s."""
    from confluent_kafka import Consumer, Producer

    group, exactly = uuid.uuid4().hex, a.guarantee == "exactly_once"
    consumer = Consumer({
        "bootstrap.servers": a.bootstrap, "group.id": group, "auto.offset.reset": "earliest",
        "enable.auto.commit": False, "fetch.queue.backoff.ms": 10,
    })  # fmt: skip
    consumer.subscribe([a.topic_in])
    producer = Producer({
        "bootstrap.servers": a.bootstrap, "linger.ms": 5, "queue.buffering.max.messages": 1_000_000,
        "retry.backoff.ms": 5, **({"transactional.id": group} if exactly else {"enable.idempotence": True}),
    })  # fmt: skip
    if exactly:
        producer.init_transactions(10)
    failed: list[Any] = []
    seen, started, last = 0, 0.0, time.perf_counter()
    print("ready", flush=True)
    while seen < a.records:
        polled = consumer.consume(1, 0.2)
        now = time.perf_counter()
        if not polled:
            if now - last > IDLE_SECONDS:
                break
            continue
        polled += consumer.consume(a.poll - 1, 0)
        started = started or now
        if a.polls:
            arrived, ends = time.time(), {r.partition(): (r.offset() or 0) + 1 for r in polled}
            a.noted += [(arrived, partition, end) for partition, end in ends.items()]
        if exactly:
            producer.begin_transaction()
        for r in polled:
            producer.produce(
                a.topic_out, key=r.key(), value=encode(answer, r.value() or b""), timestamp=r.timestamp()[1],
                on_delivery=lambda error, _message: failed.append(error) if error else None,
            )  # fmt: skip
        if exactly:
            positions = consumer.position(consumer.assignment())
            producer.send_offsets_to_transaction(positions, consumer.consumer_group_metadata())
            producer.commit_transaction()
        else:
            producer.flush()
            consumer.commit(asynchronous=False)
        if failed:
            raise RuntimeError(str(failed[0]))
        seen += len(polled)
        last = time.perf_counter()
    consumer.close()
    return seen / (last - started)


def main() -> None:
    """Run one loop and print one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("bootstrap", "topic_in", "topic_out"):
        parser.add_argument(name)
    parser.add_argument("records", type=int)
    parser.add_argument("--client", choices=("kafka-python", "librdkafka"), default="kafka-python")
    parser.add_argument("--loop", choices=("bare", "per_record"), default="bare")
    parser.add_argument("--guarantee", choices=("at_least_once", "exactly_once"), default="at_least_once")
    parser.add_argument("--poll", type=int, default=1000)
    parser.add_argument("--polls", action="store_true", help="print the end time and next offset of each poll")
    a = parser.parse_args()
    end_with_parent()
    a.noted = []
    answer = bare() if a.loop == "bare" else per_record()
    rate = (run_kafka_python if a.client == "kafka-python" else run_confluent)(a, answer)
    print(json.dumps({"records_per_s": round(rate), "polls": a.noted}))


if __name__ == "__main__":
    main()
