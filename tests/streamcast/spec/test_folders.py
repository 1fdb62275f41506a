"""Model folders: what was saved is what is loaded, and a folder that somebody made to harm is refused."""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
import pickle
import re
import struct
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save

from harness.disks import largest_file
from harness.streams import LSTM_ATTENTION, SPECS, model_spec
from streamcast.errors import ModelError
from streamcast.spec import folders as registry
from streamcast.spec.folders import (
    aliases,
    list_models,
    load_model,
    lost_aliases,
    new_network,
    own_version,
    promote,
    save_model,
)
from streamcast.spec.model_spec import ModelSpec

SPEC = SPECS["gru"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    save_model(tmp_path, "load", SPEC, new_network(SPEC), {"mae": 1.5})
    return tmp_path


def test_what_was_saved_is_what_is_loaded(root: Path) -> None:
    torch.manual_seed(2)
    network = new_network(SPEC)
    saved = save_model(root, "load", SPEC, network, {"mae": 1.0})
    loaded = load_model(root, "load")
    assert (loaded.name, loaded.version, loaded.digest) == ("load", "2", saved.digest)
    assert loaded.spec == SPEC
    assert loaded.facts == {"mae": 1.0}
    assert not loaded.network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, loaded.network.state_dict()[name])


def test_versions_never_change_and_the_same_model_has_the_same_digest(root: Path) -> None:
    first = load_model(root, "load@1")
    again = save_model(root, "load", SPEC, first.network, {"mae": 9.0})
    assert (again.version, again.digest) == ("2", first.digest)
    assert load_model(root, "load@1").facts == {"mae": 1.5}
    assert not [path for path in (root / "load").iterdir() if path.name.startswith(".")]


def test_a_version_that_saved_is_known_and_is_no_part_of_the_digest(root: Path) -> None:
    record = root / "load" / "1" / "model.json"
    saved = load_model(root, "load@1")
    assert saved.saved_by == own_version() != ""
    as_before = json.loads(record.read_text())
    del as_before["streamcast"]
    record.write_text(json.dumps(as_before))
    assert (load_model(root, "load@1").digest, load_model(root, "load@1").saved_by) == (saved.digest, "")


def test_what_a_save_left_when_it_was_ended_does_not_stop_the_next(root: Path) -> None:
    for left in (f".2.{os.getpid()}", ".2.1"):
        (root / "load" / left).mkdir()
    assert save_model(root, "load", SPEC, new_network(SPEC), {}).version == "2"


def test_two_trainings_that_end_together_are_two_versions(root: Path) -> None:
    network = new_network(SPEC)
    with ThreadPoolExecutor(4) as pool:
        saved = [pool.submit(save_model, root, "load", SPEC, network, {"number": i}) for i in range(8)]
        made = {model.result().version: model.result().facts for model in saved}
    assert sorted(made) == [str(version) for version in range(2, 10)]
    assert all(load_model(root, f"load@{version}").facts == facts for version, facts in made.items())


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "load").write_text("a file")
    with pytest.raises(ModelError, match="cannot be saved in"):
        save_model(tmp_path, "load", SPEC, new_network(SPEC), {})


def test_a_model_that_could_not_be_saved_is_none_that_there_is(root: Path) -> None:
    network = new_network(SPEC)
    with largest_file(1_000), pytest.raises(ModelError, match=r"model full cannot be saved in .*: File too large"):
        save_model(root, "full", SPEC, network, {})
    with largest_file(1_000), pytest.raises(ModelError, match="model load cannot be saved"):
        save_model(root, "load", SPEC, network, {})
    assert [folder.name for folder in root.iterdir()] == ["load"]
    (root / "notes").mkdir()
    with pytest.raises(ModelError, match=r"model 'full@latest': no such model under .*; there are: load$"):
        load_model(root, "full@latest")


def test_a_broken_model_is_listed_as_broken_beside_the_others(root: Path) -> None:
    save_model(root, "other", SPEC, new_network(SPEC), {})
    (root / "load" / "1" / "model.json").write_text("{")
    broken, whole = list_models(root)
    assert (broken.name, broken.digest) == ("load", "")
    assert "model.json is not JSON" in broken.trouble
    assert (whole.name, whole.trouble) == ("other", "")
    (root / "other" / "aliases.json").write_text("{")
    assert "aliases.json" in list_models(root)[1].trouble
    assert list_models(root)[1].digest == whole.digest


@pytest.mark.parametrize("part", ["spec.json", "weights.safetensors", "model.json"])
def test_a_half_copied_version_is_listed_as_broken(root: Path, part: str) -> None:
    (root / "load" / "1" / part).unlink()
    (found,) = list_models(root)
    assert part in found.trouble


def test_an_alias_of_a_version_that_is_not_there_yet_is_named_and_kept(root: Path) -> None:
    (root / "load" / "aliases.json").write_text('{"champion": "7"}')
    with pytest.raises(ModelError, match="load@champion: the alias is for version 7, which is not there") as refused:
        load_model(root, "load@champion")
    assert f"there are versions 1: promote one of them, or copy version 7 to {root / 'load'}" in str(refused.value)
    with pytest.raises(ModelError, match=r"and aliases champion \(of version 7, which is not there\)$"):
        load_model(root, "load@challenger")
    assert lost_aliases(root, "load") == {"champion": "7"}
    promote(root, "load@1", "challenger")
    save_model(root, "load", SPEC, new_network(SPEC), {})
    (root / "load" / "2").rename(root / "load" / "7")
    assert load_model(root, "load@champion").version == "7"
    assert load_model(root, "load@challenger").version == "1"


def test_an_alias_means_a_version_until_it_means_another(root: Path) -> None:
    save_model(root, "load", SPEC, new_network(SPEC), {})
    with pytest.raises(ModelError, match=r"model 'laod@1': no such model under .*; there are: load"):
        promote(root, "laod@1", "champion")
    assert promote(root, "load@1", "champion") == "1"
    assert promote(root, "load", "challenger") == "2"
    assert load_model(root, "load@champion").version == "1"
    promote(root, "load@challenger", "champion")
    assert load_model(root, "load@champion").version == "2"
    assert [(v.name, v.version, v.aliases) for v in list_models(root)] == [
        ("load", "2", ("challenger", "champion")),
        ("load", "1", ()),
    ]


def test_a_path_to_a_model_is_answered_with_its_name_and_folder(root: Path) -> None:
    for path, name in ((root / "load" / "1", "load@1"), (root / "load", "load")):
        with pytest.raises(ModelError, match=f"in the folder of models {root}: name it {name}, and that folder$"):
            load_model(root / "elsewhere", str(path))


@pytest.mark.parametrize("reference", ["none", "load@3", "load@champion", "load@01", "load@²", "load@-1", "load@1\n"])
def test_a_model_that_is_not_there_is_named_with_those_that_are(root: Path, reference: str) -> None:
    with pytest.raises(ModelError, match=r"load|versions 1"):
        load_model(root, reference)


@pytest.mark.parametrize(
    "name", ["../load", "..", ".", "", "/etc", "load/../load", "load\n", "Load", "a\0b", "l" * 65, "²"]
)
def test_a_name_never_chooses_a_path(root: Path, name: str) -> None:
    outside = root / "inside"
    outside.mkdir()
    with pytest.raises(ModelError):
        save_model(outside, name, SPEC, new_network(SPEC), {})
    with pytest.raises(ModelError):
        load_model(outside, name)
    with pytest.raises(ModelError):
        promote(outside, f"{name}@1", "champion")
    with pytest.raises(ModelError):
        promote(root, "load@1", f"x/{name}")
    assert sorted(path.name for path in root.iterdir()) == ["inside", "load"]
    assert not list(outside.iterdir())
    assert sorted(path.name for path in (root / "load").iterdir()) == ["1"]


# -- hostile folders -------------------------------------------------------------------------------------


def rewrite(folder: Path, spec: bytes | None = None, weights: bytes | None = None) -> None:
    """Put other files into a version, with hashes that fit them: what somebody does who can write the folder."""
    for part, name, data in (("spec", "spec.json", spec), ("weights", "weights.safetensors", weights)):
        if data is not None:
            (folder / name).write_bytes(data)
            record = json.loads((folder / "model.json").read_text())
            record[f"{part}_sha256"] = hashlib.sha256(data).hexdigest()
            (folder / "model.json").write_text(json.dumps(record))


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.canary}",)


@pytest.mark.parametrize("wrapped", [False, True], ids=["pickle", "torch.save"])
def test_a_pickle_among_the_weights_is_never_run(root: Path, tmp_path: Path, wrapped: bool) -> None:  # noqa: FBT001
    canary, payload = tmp_path / "canary", tmp_path / "payload"
    if wrapped:
        torch.save({"weight": Payload(canary)}, payload)
    else:
        payload.write_bytes(pickle.dumps(Payload(canary)))
    rewrite(root / "load" / "1", weights=payload.read_bytes())
    with pytest.raises(ModelError, match="not a safetensors file"):
        load_model(root, "load")
    assert not canary.exists()


def test_weights_or_a_spec_that_were_swapped_are_refused(root: Path) -> None:
    torch.manual_seed(3)
    save_model(root, "load", model_spec({}, season=5), new_network(SPEC), {})
    first, second = root / "load" / "1", root / "load" / "2"
    for name in ("weights.safetensors", "spec.json"):
        kept = (first / name).read_bytes()
        (first / name).write_bytes((second / name).read_bytes())
        with pytest.raises(ModelError, match=rf"/load/1: {re.escape(name)} does not match model\.json: "):
            load_model(root, "load@1")
        (first / name).write_bytes(kept)
    assert load_model(root, "load@1").version == "1"


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused(root: Path, value: float) -> None:
    folder = root / "load" / "1"
    tensors = load((folder / "weights.safetensors").read_bytes())
    next(iter(tensors.values())).view(-1)[0] = value
    rewrite(folder, weights=save(tensors))
    with pytest.raises(ModelError, match="NaN or infinite"):
        load_model(root, "load")


def _another_shape(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    name = next(iter(tensors))
    return {**tensors, name: tensors[name][:1].contiguous()}


def _another_type(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.double() for name, tensor in tensors.items()}


def _one_more(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**tensors, "more": torch.zeros(1)}


def _one_less(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return dict(list(tensors.items())[1:])


@pytest.mark.parametrize("change", [_another_shape, _another_type, _one_more, _one_less])
def test_weights_that_are_not_those_of_the_spec_are_refused(
    root: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]
) -> None:
    folder = root / "load" / "1"
    rewrite(folder, weights=save(change(load((folder / "weights.safetensors").read_bytes()))))
    with pytest.raises(ModelError, match="do not fit the spec"):
        load_model(root, "load")


def _changed(**changes: Any) -> bytes:
    return json.dumps({**json.loads(SPEC.to_json()), **changes}).encode()


@pytest.mark.parametrize(
    "document",
    [
        model_spec({}, LSTM_ATTENTION).to_json().encode(),
        _changed(horizon=4),
        _changed(network={"kind": "gru", "hidden": 4096, "layers": 4}),
        _changed(network={"kind": "gru", "hidden": 10**12}),
        _changed(network={"kind": "__import__"}),
        _changed(network={"kind": ["gru"]}),
        _changed(network={"kind": "gru", "hidden": "8"}),
        _changed(network=[]),
        _changed(surprise=1),
        _changed(schema_version=5),
        _changed(horizon=10**9),
        b"",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"\xff\xfe",
        b'{"schema_version":1}',
        SPEC.to_json().encode() + b" " * registry.LARGEST_SPEC,
    ],
    ids=range(18),
)
def test_a_spec_that_does_not_fit_its_weights_or_is_none_is_refused(root: Path, document: bytes) -> None:
    rewrite(root / "load" / "1", spec=document)
    with pytest.raises(ModelError):
        load_model(root, "load")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"schema_version": 5}, "schema_version is 5: input should be 1, 2, 3 or 4"),
        ({"surprise": 1}, "it has surprise, which this version of streamcast does not know"),
        ({"online": {"wonder": True}}, "it has online.wonder, which this version of streamcast does not know"),
        ({"network": {"kind": "later"}}, "model.kind is 'later'"),
        ({"network": {"kind": "gru", "gadget": 1}}, "'gadget'"),
    ],
)
def test_a_model_of_a_later_version_is_refused_with_what_to_do(root: Path, changes: dict[str, Any], said: str) -> None:
    rewrite(root / "load" / "1", spec=_changed(**changes))
    with pytest.raises(ModelError) as refused:
        load_model(root, "load")
    message = str(refused.value)
    assert said in message
    assert "a later version of streamcast may have saved them: run that version here" in message
    assert "\n" not in message


def test_a_model_that_cannot_be_read_names_the_version_that_saved_it(root: Path) -> None:
    rewrite(root / "load" / "1", spec=_changed(surprise=1))
    path = root / "load" / "1" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "streamcast": "9.1.0"}))
    with pytest.raises(ModelError, match=r"as streamcast 9\.1\.0 saved them, and this is .*: run that version here"):
        load_model(root, "load")


@pytest.mark.parametrize(
    "weights",
    [
        b"",
        b"\0" * 8,
        struct.pack("<Q", 2**63) + b"{}",
        struct.pack("<Q", 100) + b"{" * 100,
        struct.pack("<Q", 56) + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,360]}}'[:56],
        b"PK\x03\x04" + b"\0" * 100,
    ],
    ids=["empty", "no header", "a header beyond all memory", "a header that is no JSON", "a header that lies", "a zip"],
)
def test_weights_that_are_no_safetensors_are_refused(root: Path, weights: bytes) -> None:
    rewrite(root / "load" / "1", weights=weights)
    with pytest.raises(ModelError, match=r"not a safetensors file|do not fit the spec"):
        load_model(root, "load")


LOADED = """
import resource, sys
from pathlib import Path
from streamcast.errors import ModelError
from streamcast.spec.folders import load_model
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    load_model(Path(sys.argv[1]), "load")
except ModelError as error:
    print(error)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, "torch._dynamo" in sys.modules)
"""


def test_loading_takes_the_memory_of_the_weights_and_nothing_of_torchs_compiler(root: Path, tmp_path: Path) -> None:
    def loaded(folder: Path) -> list[str]:
        command = [sys.executable, "-c", LOADED, str(folder)]
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout.splitlines()

    aligned = SPECS["days alike"]
    save_model(tmp_path / "aligned", "load", aligned, new_network(aligned), {})
    megabytes, compiler = loaded(tmp_path / "aligned")[-1].split()
    assert int(megabytes) < 60
    assert compiler == "False"
    rewrite(root / "load" / "1", spec=_changed(network={"kind": "gru", "hidden": 4096, "layers": 4}))  # 1.2 GB
    refused, measured = loaded(root)
    assert "its network is much larger than the" in refused
    assert int(measured.split()[0]) < 60


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b"\xff", b"[" * 100_000, b"{}", b'{"facts":1}'])
def test_a_broken_model_json_is_refused(root: Path, data: bytes) -> None:
    (root / "load" / "1" / "model.json").write_bytes(data)
    with pytest.raises(ModelError):
        load_model(root, "load")


def _with_record(root: Path, **changes: Any) -> Path:
    """Change ``model.json`` of load@1; no hash covers it."""
    path = root / "load" / "1" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"facts": {"last": "x"}}, "facts.last is 'x': input should be a valid integer"),
        ({"facts": {"first": 1.5}}, "facts.first is 1.5: input should be a valid integer"),
        ({"facts": {"from_last": True}}, "facts.from_last is True: input should be a valid integer"),
        ({"facts": {"last": 10**30}}, f"facts.last is {10**30}: input should be less than or equal to 2534023007999"),
        ({"facts": {"quality": 5}}, "facts.quality is 5: input should be an object"),
        ({"facts": {"quality": {"steps": [1]}}}, "facts.quality.steps is [1]: input should be a valid dictionary"),
        ({"facts": {"quality": {"steps": {"1": 5}}}}, "facts.quality.steps.1 is 5: input should be an object"),
        ({"facts": {"quality": {"steps": {"x": {}}}}}, "facts.quality.steps.x.[key] is 'x': "),
        ({"facts": {"quality": {"steps": {"1": {"mae": "1"}}}}}, "facts.quality.steps.1.mae is '1': "),
        ({"facts": {"quality": {"steps": {"1": {"outcomes": math.nan}}}}}, "facts.quality.steps.1.outcomes is nan: "),
        ({"facts": {"quality": {"from": None}}}, "facts.quality.from is None: "),
        ({"facts": {"timezone": "../../etc/passwd"}}, "'../../etc/passwd': input should be the name of a time zone"),
        ({"facts": {"timezone": 5}}, "facts.timezone is 5: input should be a valid string"),
        ({"facts": {"data": ["a"]}}, "facts.data is ['a']: input should be a valid string"),
        ({"facts": {"options": [1]}}, "facts.options is [1]: input should be a valid dictionary"),
        ({"digest": 5}, "digest is 5: input should be a valid string"),
        ({"surprise": functools.reduce(lambda inner, _: [inner], range(100), list[Any]())}, "nested too deeply"),
    ],
)
def test_a_wrong_fact_is_named_and_only_its_version_is_broken(root: Path, changes: dict[str, Any], said: str) -> None:
    """It ended the list of all models, or with a traceback."""
    save_model(root, "other", SPEC, new_network(SPEC), {})
    path = _with_record(root, **changes)
    with pytest.raises(ModelError) as refused:
        load_model(root, "load")
    assert str(refused.value).startswith(str(path))
    assert said in str(refused.value)
    broken, whole = list_models(root)
    assert (broken.trouble, broken.facts, broken.digest) == (str(refused.value), {}, "")
    assert (whole.name, whole.trouble) == ("other", "")


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"stopped": "nothing to train", "quality": None, "last": None, "from_last": None, "held_out_from": None},
        {
            "quality": {
                "from": 1, "forecasts": 3, "mae": math.nan, "naive_mae": 1.0, "coverage": 0.8, "nominal": 0.8,
                "steps": {"1": {"mae": math.nan, "naive_mae": None, "coverage": 0.5}},
            }
        },
        {"later": {"kinds": [1, {"of": "facts"}]}, "timezone": "Etc/GMT+1", "time_format": None, "options": {"a": 3}},
    ],
)  # fmt: skip
def test_facts_of_other_versions_of_streamcast_are_read(root: Path, facts: dict[str, Any]) -> None:
    _with_record(root, facts=facts)
    assert repr(load_model(root, "load").facts) == repr(list_models(root)[0].facts) == repr(facts)


@pytest.mark.parametrize(
    "changes", [{"lags": 4, "horizon": 5_000}, {"categories": 5_000}], ids=["the horizon", "the width of a bar"]
)
def test_a_spec_that_no_network_can_have_is_an_error_with_its_folder(root: Path, changes: dict[str, Any]) -> None:
    document = json.loads(SPEC.to_json())
    if many := changes.pop("categories", 0):
        document["series"]["columns"].append({"name": "kind", "categories": [str(n) for n in range(many)]})
    rewrite(root / "load" / "1", spec=json.dumps({**document, **changes}).encode())
    with pytest.raises(ModelError, match=f"^{root / 'load' / '1' / 'spec.json'} cannot be read: "):
        load_model(root, "load")


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_broken_aliases_are_refused(root: Path, data: bytes) -> None:
    (root / "load" / "aliases.json").write_bytes(data)
    with pytest.raises(ModelError, match=r"aliases\.json"):
        load_model(root, "load@champion")


def test_an_alias_that_cannot_be_written_is_the_one_from_before(root: Path) -> None:
    promote(root, "load@1", "champion")
    save_model(root, "load", SPEC, new_network(SPEC), {})
    before = sorted(path.name for path in (root / "load").iterdir())
    with largest_file(10), pytest.raises(ModelError, match=r"alias champion cannot be written to .*: File too large"):
        promote(root, "load@2", "champion")
    assert load_model(root, "load@champion").version == "1"
    assert sorted(path.name for path in (root / "load").iterdir()) == before


def test_a_link_beside_the_aliases_is_not_followed(root: Path, tmp_path: Path) -> None:
    (root / "load" / f"aliases.{os.getpid()}").symlink_to(tmp_path / "other")
    promote(root, "load@1", "champion")
    assert not (tmp_path / "other").exists()
    assert aliases(root, "load")["champion"] == "1"


def test_an_alias_leads_to_versions_only(root: Path) -> None:
    (root / "load" / "aliases.json").write_text(json.dumps({"champion": "../../load/1", "old": ["1"], "good": 1}))
    for alias in ("champion", "old"):
        with pytest.raises(ModelError, match="no such version or alias"):
            load_model(root, f"load@{alias}")
    assert load_model(root, "load@good").version == "1"


@pytest.mark.parametrize("name", ["spec.json", "weights.safetensors", "model.json"])
def test_a_part_that_is_no_plain_file_is_refused_without_waiting(root: Path, name: str) -> None:
    path = root / "load" / "1" / name
    path.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(root, "load")
    os.mkfifo(path)
    with pytest.raises(ModelError, match="not a plain file"):
        load_model(root, "load")
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(ModelError, match="not a plain file"):
        load_model(root, "load")


def test_folders_that_are_no_versions_are_left_alone(root: Path) -> None:
    for name in ("²", "0", "x", ".3.17", "1e3", "99999999999999999999"):
        (root / "load" / name).mkdir()
    assert load_model(root, "load").version == "1"
    saved = save_model(root, "load", SPEC, new_network(SPEC), {})
    assert saved.version == "2"
    assert [version.version for version in list_models(root)] == ["2", "1"]


def test_a_model_that_names_no_network_says_what_there_is(root: Path) -> None:
    spec = ModelSpec(**{**SPEC.model_dump(), "network": {"kind": "grru"}})
    with pytest.raises(ModelError, match="Did you mean 'gru'"):
        new_network(spec)
    assert root.exists()
