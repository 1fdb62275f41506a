"""The notebooks run, and the site shows what is in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest

from harness.documentation.notebooks import PAGES, executed, notebooks, page
from harness.documentation.session import SHORT_TRAINING


def outputs(notebook: Any) -> list[tuple[str, list[str]]]:
    """Return the kinds of output of each cell: what a reader sees of it, without its numbers."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [
        (cell.source, [kind for each in cell.outputs for kind in sorted(each.get("data", {"text": ""}))])
        for cell in cells
    ]


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_a_notebook_runs_and_its_cells_show_what_they_show_in_the_repository(path: Path) -> None:
    kept = nbformat.read(path, as_version=4)
    assert outputs(executed(path, before=SHORT_TRAINING)) == outputs(kept)


@pytest.mark.parametrize("path", notebooks(), ids=lambda path: path.stem)
def test_the_page_of_a_notebook_is_current(path: Path) -> None:
    text, images = page(path)
    told = "run `make docs`"
    assert (PAGES / f"{path.stem}.md").read_text(encoding="utf-8") == text, told
    assert {file.name: file.read_bytes() for file in PAGES.glob(f"{path.stem}-*.png")} == images, told
