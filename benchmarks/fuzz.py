"""Coverage-guided fuzzing: ``python -m benchmarks.fuzz [--targets ...] [--seconds 60]``.

atheris (libFuzzer) mutates a few good examples and gives them to each reader of bytes from outside: records, settings,
snapshots, model folders.  A reader may refuse with its own error; any other result is a finding, which is kept under
``--findings``.  Needs ``pip install atheris``.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import children

FACTS = b'{"key":"a","ts":1467331200000,"values":[1.5,null,"red"]}'


def decoder() -> tuple[list[bytes], Callable[[bytes], None]]:
    """Records: each has exactly one outcome, and no value is infinite."""
    import numpy as np

    from streamcast.consumers.transport import Batch, Partition
    from streamcast.spec.model_spec import Column, SeriesSpec
    from streamcast.topics.ahead import Ahead
    from streamcast.topics.observations import Decoder

    columns = (Column(name="y"), Column(name="x"), Column(name="c", categories=("red", "blue")))
    decode = Decoder(SeriesSpec(columns=columns, freq=60_000), Ahead((1, 2), 3)).decode

    def check(data: bytes) -> None:
        values = data.split(b"\n")
        rows = list(range(len(values)))
        seen, poison = decode([Batch(Partition("t", 0), rows, [0] * len(rows), [None] * len(rows), values, len(rows))])
        if sorted([*seen.offsets.tolist(), *(each.row for each in poison)]) != rows:
            raise AssertionError("a record has no outcome, or two")
        if np.isinf(seen.values).any() or (seen.ahead is not None and np.isinf(seen.ahead).any()):
            raise AssertionError("an infinite value")

    named = b'{"key":"a","ts":"2016-07-01T00:00:00Z","values":{"y":1,"x":-2e9,"c":"blue"},"v":1}'
    known = FACTS[:-1] + b',"ahead":{"x":[1,null,-2e9,4],"c":["blue"]}}'
    return [FACTS, named, known, FACTS + b"\n" + named + b"\n" + known], check


def settings() -> tuple[list[bytes], Callable[[bytes], None]]:
    """A YAML file: settings, or an error with a message."""
    from streamcast.app.settings import load_settings, write_template
    from streamcast.errors import SettingsError

    path = Path(tempfile.mkdtemp()) / "streamcast.yaml"

    def check(data: bytes) -> None:
        path.write_bytes(data)
        try:
            load_settings(path)
        except SettingsError as error:
            if not str(error):
                raise AssertionError("an error without words") from error

    return [write_template().encode(), b"kafka: {group: a, options: {linger_ms: 1}}"], check


def snapshot() -> tuple[list[bytes], Callable[[bytes], None]]:
    """The bytes after a correct checksum: a snapshot, or SnapshotError."""
    import numpy as np

    from streamcast.errors import SnapshotError
    from streamcast.service import snapshots

    header = snapshots.Header("observations", "journal", 0, 2, 5, 40, "a" * 64, 100, "torch, here")
    good = snapshots.encode(header, {"h": np.zeros((2, 8), np.float32)})
    start = len(good) - len(good.partition(b"\n")[2]) + hashlib.sha256().digest_size

    def check(data: bytes) -> None:
        try:
            snapshots.decode(good[: start - 32] + hashlib.sha256(data).digest() + data)
        except SnapshotError:
            return

    return [good[start:]], check


def model() -> tuple[list[bytes], Callable[[bytes], None]]:
    """A model folder with correct hashes: spec, a zero byte, weights."""
    import torch

    from benchmarks.service import benchmark_model
    from streamcast.errors import ModelError
    from streamcast.spec.folders import new_network, read_folder, save_model
    from streamcast.spec.model_spec import ModelSpec

    root = Path(tempfile.mkdtemp())
    series = benchmark_model("gru").spec.series
    spec = ModelSpec(series=series, horizon=2, lags=8, season=2, network={"kind": "gru", "hidden": 8, "layers": 1})
    torch.manual_seed(0)
    save_model(root, "good", spec, new_network(spec), {})
    folder = root / "good" / "1"
    parts = [(folder / name).read_bytes() for name in ("spec.json", "weights.safetensors")]
    record = json.loads((folder / "model.json").read_text())

    def check(data: bytes) -> None:
        document, _, weights = data.partition(b"\0")
        for part, name, content in (("spec", "spec.json", document), ("weights", "weights.safetensors", weights)):
            (folder / name).write_bytes(content)
            record[f"{part}_sha256"] = hashlib.sha256(content).hexdigest()
        (folder / "model.json").write_text(json.dumps(record))
        try:
            read_folder(folder, "good", "1")
        except ModelError:
            return

    return [b"\0".join(parts)], check


TARGETS = {target.__name__: target for target in (decoder, settings, snapshot, model)}
INSTRUMENTED = (
    "streamcast.topics.observations",
    "streamcast.app.settings",
    "streamcast.service.snapshots",
    "streamcast.spec.folders",
    "streamcast.models.spec",
)


def fuzz(target: str, seconds: int, findings: Path) -> None:
    """Fuzz one target in this process; libFuzzer exits the process when the time is up."""
    import atheris

    with atheris.instrument_imports(include=["streamcast"]):
        for name in INSTRUMENTED:
            importlib.import_module(name)
    examples, check = TARGETS[target]()
    corpus = Path(tempfile.mkdtemp())
    for number, example in enumerate(examples):
        (corpus / str(number)).write_bytes(example)
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={findings}/{target}-", "-print_final_stats=1"]
    atheris.Setup([sys.argv[0], *options, "-max_len=65536", "-rss_limit_mb=4096", str(corpus)], check)
    atheris.Fuzz()


def main(arguments: Sequence[str] | None = None) -> int:
    """Fuzz the targets one after the other; return 0 when nothing was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--findings", type=Path, default=Path(tempfile.gettempdir()) / "streamcast-findings")
    parser.add_argument("--here", action="store_true", help="in this process (one target), with libFuzzer's output")
    a = parser.parse_args(arguments)
    a.findings.mkdir(parents=True, exist_ok=True)
    if a.here:
        children.end_with_parent()
        fuzz(a.targets[0], a.seconds, a.findings)
        return 0
    failed = 0
    for target in a.targets:
        command = [sys.executable, "-m", "benchmarks.fuzz", "--here", "--targets", target]
        process = children.start(
            [*command, "--seconds", str(a.seconds), "--findings", str(a.findings)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        out, errors = process.communicate(timeout=a.seconds + 300)
        tried = [line.split()[-1] for line in errors.splitlines() if "number_of_executed_units" in line]
        print(f"{target}: {int(tried[0]) if tried else 0:,} inputs in {a.seconds} s, exit code {process.returncode}")
        if process.returncode:
            failed = 1
            print("\n".join((out + errors).splitlines()[-25:]))
    return failed


if __name__ == "__main__":
    raise SystemExit(main())
