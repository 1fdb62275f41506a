"""Model folders: a spec, weights, and one hash of both.

``<root>/<name>/<version>/`` holds ``spec.json``, ``weights.safetensors`` and ``model.json`` (the hashes of both, facts
of the training run, and the version of streamcast that saved them, which is no part of a hash); versions are 1, 2, 3 …
and never change.  ``<root>/<name>/aliases.json`` maps names such as champion to versions.  Nothing here executes what
it reads.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import re
import secrets
import shutil
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from safetensors.torch import load, save
from torch.overrides import TorchFunctionMode

from streamcast.errors import ModelError
from streamcast.models.build import build
from streamcast.models.network import Network, NoNetwork, Shape
from streamcast.models.readout.aligned import TargetShape
from streamcast.models.spec import SpecError, make
from streamcast.spec import features
from streamcast.spec.facts import check_record, is_nested_too_deeply
from streamcast.spec.model_spec import ModelSpec
from streamcast.spec.zero import KIND, has_no_network

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
VERSION = re.compile(r"[1-9][0-9]{0,8}")
SPEC, WEIGHTS = "spec.json", "weights.safetensors"
LARGEST_SPEC = 4 << 20
LARGEST_WEIGHTS = 4 << 30
MOST_NUMBERS, SPARE_NUMBERS = 16, 1_000_000
"""How many numbers a network may write while it is built, for each of its weights and besides; usually 5."""
MOST_FAULTS, MOST_SHOWN = 4, 40
"""How many faults of a spec a message names, and how many characters of a wrong value it shows."""
PACKAGE = "streamcast-forecasting"


@dataclass(frozen=True, slots=True)
class Model:
    """A network with its spec, name, version and digest; ``NoNetwork`` where only the online layer forecasts."""

    spec: ModelSpec
    network: Network
    name: str = "model"
    version: str = "0"
    digest: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    saved_by: str = ""
    """The version of streamcast that wrote its folder; empty where none is known."""

    @property
    def trained_until(self) -> int | None:
        """The time (epoch ms) of the newest row that weights were trained on; None where nothing was trained.

        A training that went on from another model has weights that saw that model's rows, too.
        """
        return None if isinstance(self.network, NoNetwork) else newest_row(self.facts)

    @property
    def last_trained_bar(self) -> int | None:
        """The number of the bar that holds ``trained_until``."""
        until = self.trained_until
        return None if until is None else self.spec.series.grid.bar(until)


@dataclass(frozen=True, slots=True)
class Version:
    """One line of a model list; ``trouble`` says why a version cannot be read."""

    name: str
    version: str
    aliases: tuple[str, ...] = ()
    digest: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)
    trouble: str = ""


def newest_row(facts: Mapping[str, Any]) -> int | None:
    """Return the time (epoch ms) of the newest row that a training read, or that of the model it went on from.

    None where the facts name none.
    """
    return max((facts[name] for name in ("last", "from_last") if facts.get(name) is not None), default=None)


class _TooLarge(Exception):
    """A network that is being built has too many numbers."""


class _Building(TorchFunctionMode):
    """While a network is built, raises _TooLarge at the tensor that exceeds ``most`` numbers, before it is written to.

    A spec must not take more memory than its weights need.  (On the meta device nothing is allocated, but its
    arithmetic imports torch's compiler: 150 MB and 2.6 s in every process that loads a model.)
    """

    def __init__(self, most: int) -> None:
        super().__init__()
        self._left = most

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self._left -= made.numel()
            if self._left < 0:
                raise _TooLarge
        return made


def new_network(spec: ModelSpec) -> Network:
    """Return the network of a spec with fresh weights; raises ModelError when the spec names no such network."""
    try:
        shape = _shape(spec)
        if has_no_network(spec):
            return make("network", {KIND: NoNetwork}, spec.network, shape=shape)
        return build(spec.network, shape)
    except SpecError as error:
        raise ModelError(f"network {spec.network}: {error}") from error


def _shape(spec: ModelSpec) -> Shape:
    """Return the sizes of a spec's inputs and outputs; raises SpecError for those that no network can have."""
    width, targets = features.width(spec), spec.targets if spec.aligns else None
    seen = None
    if targets is not None:
        tables = features.target_tables(spec, targets)
        seen = TargetShape(
            features.target_width(spec, targets),
            features.seasonal_values(targets),
            sum(tables),
            targets.softmax,
            targets.mean,
        )
    return Shape((width,) * (1 + len(spec.scales)), spec.lags, spec.horizon, spec.quantiles, seen)


def require_name(name: str) -> None:
    """Raise ModelError for a name that no model may have."""
    if not NAME.fullmatch(name):
        raise ModelError(f"model name {name!r}: use 1 to 64 small letters, digits, - and _, as in load or iot-2")


def save_model(root: Path, name: str, spec: ModelSpec, network: Network, facts: Mapping[str, Any]) -> Model:
    """Write the next version of a model; the folder appears whole or not at all.

    Raises ModelError where it cannot be written; a folder of the name without versions does not stay.
    """
    require_name(name)
    folder = root / name
    document = spec.to_json().encode()
    weights = save({key: tensor.contiguous() for key, tensor in network.state_dict().items()})
    digest = _digest(document, weights)
    record = {
        "spec_sha256": hashlib.sha256(document).hexdigest(),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "digest": digest,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "streamcast": own_version(),
        "facts": dict(facts),
    }
    aside = folder / f".{uuid.uuid4().hex}"
    try:
        aside.mkdir(parents=True)
        (aside / SPEC).write_bytes(document)
        (aside / WEIGHTS).write_bytes(weights)
        (aside / "model.json").write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
        version = _as_next_version(aside, folder)
    except OSError as error:
        raise ModelError(f"model {name} cannot be saved in {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
        with suppress(OSError):  # it has this version or others, or cannot be removed
            folder.rmdir()
    return Model(spec, network, name, version, digest, facts, own_version())


def own_version() -> str:
    """Return the version of this streamcast; empty where it was not installed."""
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _as_next_version(aside: Path, folder: Path) -> str:
    """Make a complete folder the next version, also when another process takes a number at the same time."""
    while True:
        version = str(max(_versions(folder), default=0) + 1)
        try:
            aside.rename(folder / version)
        except OSError:
            if not (folder / version).exists():
                raise
        else:
            return version


def load_model(root: Path, reference: str) -> Model:
    """Load ``name@version``, ``name@alias`` or ``name`` (the latest); raises ModelError."""
    name, version = resolve(root, reference)
    return read_folder(root / name / version, name, version)


def read_folder(folder: Path, name: str, version: str) -> Model:
    """Read one version and check its hashes; raises ModelError."""
    document = _read(folder / SPEC, LARGEST_SPEC)
    weights = _read(folder / WEIGHTS, LARGEST_WEIGHTS)
    record = _record(folder)
    for part, name_of_part, data in (("spec", SPEC, document), ("weights", WEIGHTS, weights)):
        if record.get(f"{part}_sha256") != hashlib.sha256(data).hexdigest():
            raise ModelError(
                f"{folder}: {name_of_part} does not match model.json: the folder was altered; copy it again or retrain"
            )
    try:
        spec = ModelSpec.model_validate_json(document)
    except ValidationError as error:
        faults = "; ".join(map(_sentence, error.errors(include_url=False)[:MOST_FAULTS]))
        raise ModelError(f"{folder / SPEC} cannot be read: {faults}; {_of_another_version(record)}") from error
    try:
        tensors = load(weights)
    except Exception as error:  # safetensors raises its own, unexported type
        raise ModelError(f"{folder / WEIGHTS} is not a safetensors file: {error}") from error
    numbers = sum(tensor.numel() for tensor in tensors.values())
    try:
        with _Building(SPARE_NUMBERS + MOST_NUMBERS * numbers):
            network = new_network(spec)
    except ModelError as error:
        raise ModelError(f"{folder / SPEC} cannot be read: {error}; {_of_another_version(record)}") from error
    except (_TooLarge, RuntimeError) as error:  # RuntimeError: one matrix larger than all memory
        raise ModelError(
            f"{folder}: the weights do not fit the spec: its network is much larger than the {numbers:,} numbers of the"
            " weights; copy the folder again or retrain"
        ) from error
    wanted = {name: (tensor.shape, tensor.dtype) for name, tensor in network.state_dict().items()}
    if wanted != (found := {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}):
        differing = sorted(name for name in {*wanted, *found} if wanted.get(name) != found.get(name))
        raise ModelError(f"{folder}: the weights do not fit the spec: they differ in {', '.join(differing[:8])}")
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise ModelError(f"{folder / WEIGHTS} holds NaN or infinite weights: retrain the model")
    network.load_state_dict(tensors)
    digest = _digest(document, weights)
    return Model(spec, network.eval(), name, version, digest, record.get("facts", {}), _saved_by(record))


def _saved_by(record: Mapping[str, Any]) -> str:
    return str(record.get("streamcast", ""))


def _of_another_version(record: Mapping[str, Any]) -> str:
    """Return a sentence about what may have saved files that cannot be read although nobody altered them."""
    remedy = "run that version here, or train the model with this one"
    saved, own = _saved_by(record), own_version()
    if saved and saved != own:
        return f"its files are as streamcast {saved} saved them, and this is {own or 'another version'}: {remedy}"
    return f"its files are as they were saved, so a later version of streamcast may have saved them: {remedy}"


def resolve(root: Path, reference: str) -> tuple[str, str]:
    """Return the name and the version that ``name@version``, ``name@alias`` or ``name`` means; raises ModelError."""
    name, _, wanted = reference.partition("@")
    versions = _versions(root / name) if NAME.fullmatch(name) else []
    if not versions:
        hint = _named_by(Path(reference)) or _there_are(root)
        raise ModelError(f"model {reference!r}: no such model under {root}; {hint}")
    if wanted in ("", "latest"):
        return name, str(max(versions))
    if VERSION.fullmatch(wanted) and int(wanted) in versions:
        return name, wanted
    known, gone = aliases(root, name), lost_aliases(root, name)
    if wanted in known:
        return name, known[wanted]
    there = f"there are versions {', '.join(map(str, sorted(versions)))}"
    if wanted in gone:
        raise ModelError(
            f"model {name}@{wanted}: the alias is for version {gone[wanted]}, which is not there; {there}:"
            f" promote one of them, or copy version {gone[wanted]} to {root / name}"
        )
    lost = [f"{alias} (of version {version}, which is not there)" for alias, version in gone.items()]
    raise ModelError(
        f"model {name}@{wanted}: there is no such version or alias; {there} and aliases"
        f" {', '.join(sorted([*known, *lost])) or 'none'}"
    )


def _named_by(path: Path) -> str:
    """Return how to name the model whose folder, or that of one of its versions, a path leads to; '' for none."""
    folder, version = (path.parent, f"@{path.name}") if (path / SPEC).is_file() else (path, "")
    if not _versions(folder):
        return ""
    return f"{path} is one, in the folder of models {folder.parent}: name it {folder.name}{version}, and that folder"


def _there_are(root: Path) -> str:
    """Return the names of the models in a folder; folders without versions are none."""
    folders = sorted(root.iterdir()) if root.is_dir() else []
    known = [folder.name for folder in folders if os.access(folder, os.R_OK) and _versions(folder)]
    if known:
        return f"there are: {', '.join(known)}"
    return "there are none yet: make one with `streamcast train` or `streamcast model new`"


def promote(root: Path, reference: str, alias: str) -> str:
    """Point an alias to a version; return the version; raises ModelError where it cannot be written."""
    name, version = resolve(root, reference)
    if not NAME.fullmatch(alias) or alias.isdigit() or alias == "latest":
        raise ModelError(f"alias {alias!r}: use small letters, digits, - and _; not a number, not latest")
    path = root / name / "aliases.json"
    aside = path.with_suffix(f".{secrets.token_hex(8)}")
    named = {**_named_versions(root, name), alias: version}
    try:
        with aside.open("x", encoding="utf-8") as file:  # it follows no link
            file.write(json.dumps(named, sort_keys=True) + "\n")
        aside.rename(path)
    except OSError as error:
        raise ModelError(f"alias {alias} cannot be written to {path}: {error.strerror}") from error
    finally:
        aside.unlink(missing_ok=True)
    return version


def aliases(root: Path, name: str) -> dict[str, str]:
    """The aliases of a model, of versions that are there."""
    versions = {str(v) for v in _versions(root / name)}
    return {alias: version for alias, version in _named_versions(root, name).items() if version in versions}


def lost_aliases(root: Path, name: str) -> dict[str, str]:
    """Return the aliases of a model that name a missing version, such as one that was removed; raises ModelError."""
    there = aliases(root, name)
    return {alias: version for alias, version in _named_versions(root, name).items() if alias not in there}


def _named_versions(root: Path, name: str) -> dict[str, str]:
    """The versions that a model's aliases name, there or not: a folder may be copied version by version."""
    path = root / name / "aliases.json"
    if not path.exists():
        return {}
    try:
        found = json.loads(_read(path, LARGEST_SPEC))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} is not JSON: {error}; repair or remove it") from error
    pairs = found.items() if isinstance(found, dict) else ()
    return {str(alias): str(version) for alias, version in pairs if VERSION.fullmatch(str(version))}


def list_models(root: Path) -> list[Version]:
    """All versions of all models, newest first within a name; also those that cannot be read."""
    found = []
    for folder in sorted(root.iterdir()) if root.is_dir() else []:
        versions, known, trouble = sorted(_versions(folder), reverse=True), dict[str, str](), ""
        try:
            known = aliases(root, folder.name) if versions else {}
        except ModelError as error:
            trouble = str(error)
        for version in map(str, versions):
            names = tuple(sorted(alias for alias, wanted in known.items() if wanted == version))
            try:
                record = _record(folder / version)
                _require_parts(folder / version)
            except ModelError as error:
                found.append(Version(folder.name, version, names, trouble=str(error)))
            else:
                digest, facts = record.get("digest", ""), record.get("facts", {})
                found.append(Version(folder.name, version, names, digest, facts, trouble))
    return found


def versions_by_digest(root: Path) -> dict[str, list[str]]:
    """Return the versions (``name@version``) of each digest, oldest first within a name.

    Versions with equal digests are one model: a training that found nothing better, or a folder that was copied.
    """
    found: dict[str, list[str]] = {}
    for each in reversed(list_models(root)):
        if each.digest:
            found.setdefault(each.digest, []).append(f"{each.name}@{each.version}")
    return found


def _require_parts(folder: Path) -> None:
    """Raise ModelError where a version lacks its spec or its weights, as one that is being copied does."""
    for part in (SPEC, WEIGHTS):
        if not (folder / part).is_file():
            raise ModelError(f"{folder / part} is missing: copy the folder again or retrain")


def _versions(folder: Path) -> list[int]:
    return (
        [int(p.name) for p in folder.iterdir() if p.is_dir() and VERSION.fullmatch(p.name)] if folder.is_dir() else []
    )


def _sentence(fault: ErrorDetails) -> str:
    """Return one fault of a spec in words: where it is, the value, and what was expected."""
    place = ".".join(map(str, fault["loc"]))
    if fault["type"] == "extra_forbidden":
        return f"it has {place}, which this version of streamcast does not know"
    if not place:
        return fault["msg"]
    wanted = "input should be an object" if fault["type"] == "model_type" else fault["msg"]
    return f"{place} is {repr(fault['input'])[:MOST_SHOWN]}: {wanted[:1].lower()}{wanted[1:]}"


def _record(folder: Path) -> dict[str, Any]:
    try:
        record = json.loads(_read(folder / "model.json", LARGEST_SPEC))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{folder / 'model.json'} is not JSON: {error}") from error
    if not isinstance(record, dict) or not isinstance(record.get("facts", {}), dict):
        raise ModelError(f"{folder / 'model.json'}: not a streamcast model folder: `facts` must be an object")
    if is_nested_too_deeply(record):
        raise ModelError(f"{folder / 'model.json'}: not a streamcast model folder: nested too deeply")
    try:
        check_record(record)
    except ValidationError as error:
        faults = "; ".join(map(_sentence, error.errors(include_url=False)[:MOST_FAULTS]))
        raise ModelError(
            f"{folder / 'model.json'} cannot be read: {faults}; correct it (facts only describe the training: they may"
            " be removed)"
        ) from error
    return record


def _read(path: Path, limit: int) -> bytes:
    if path.exists() and not path.is_file():
        raise ModelError(f"{path} is not a plain file: not a streamcast model folder")
    try:
        if path.stat().st_size > limit:
            raise ModelError(f"{path} is larger than {limit} bytes: not a streamcast model folder")
        return path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error


def _digest(document: bytes, weights: bytes) -> str:
    return hashlib.sha256(hashlib.sha256(document).digest() + hashlib.sha256(weights).digest()).hexdigest()
