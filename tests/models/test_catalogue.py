import json
from dataclasses import asdict

import pytest
import torch

from harness import ROOT
from streamcast.models.build import build
from streamcast.models.cells.elementwise import MinGRU
from streamcast.models.guide import catalogue
from streamcast.models.guide.catalogue import PARTS, listed, measure, page, parts
from streamcast.models.zoo import CELLS, MODELS

DOCS = ROOT / "docs" / "zoo.md"


def rows_of(text: str, heading: str) -> set[str]:
    """Return the first cells of the table below a heading."""
    section = text.split(f"{heading}\n", 1)[1].split("\n#", 1)[0]
    return {line.split("|")[1].strip() for line in section.splitlines() if line.startswith("| ")}


def test_the_page_in_docs_has_every_registered_name() -> None:
    text = DOCS.read_text(encoding="utf-8")
    told = "run `streamcast model zoo --markdown > docs/zoo.md`"
    assert set(MODELS) - {"network"} <= rows_of(text, "# The model zoo"), told
    for place, table in PARTS.items():
        kinds = {kind for kind, builder in table.items() if builder is not None}
        assert kinds <= rows_of(text, f"## {place.capitalize()}s"), told


@pytest.mark.parametrize("name", listed())
def test_a_model_is_listed_with_its_equation_its_source_and_its_price(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(catalogue, "ROWS", (1,))
    model = measure(name)
    assert json.loads(json.dumps(asdict(model))) == asdict(model)
    network = build(model.spec, catalogue.SHAPE)
    assert model.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert model.equation
    assert model.source
    assert all(microseconds > 0 for microseconds in model.step_us.values())


def test_the_state_of_a_model_is_counted_in_bytes_of_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "ROWS", (1,))
    assert measure("gru").state_bytes == 2 * 64 * 4
    assert measure("lstm-attention").state_bytes == (2 * 64 + 96 * 64) * 4
    assert not measure("bigru").streams


def test_a_registered_cell_is_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    class Leaky(MinGRU):
        """A leaky integrator (Lapicque 1907).

        h' = h + a(x - h).
        """

    monkeypatch.setitem(CELLS, "leaky", Leaky)
    (told,) = [part for part in parts() if part.kind == "leaky"]
    assert told.place == "cell"
    assert "| leaky | A leaky integrator (Lapicque 1907). | h' = h + a(x - h). |" in page([])


def test_measuring_leaves_random_numbers_and_threads_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "ROWS", (1,))
    torch.manual_seed(0)
    expected, threads = torch.rand(1), torch.get_num_threads()
    torch.manual_seed(0)
    measure("rnn")
    assert torch.equal(torch.rand(1), expected)
    assert torch.get_num_threads() == threads
