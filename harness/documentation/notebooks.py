"""The notebooks: run them in a kernel, and write them as pages of the site.

``python -m harness.documentation.notebooks`` runs all of them and keeps their outputs; `make docs` writes their pages.
"""

from __future__ import annotations

import base64
import os
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

from harness import ROOT

FOLDER = ROOT / "notebooks"
PAGES = ROOT / "docs" / "notebooks"
TIMEOUT_SECONDS = 300
_NOT_RUN = "<!-- not run: a cell of the notebook, which has its own test -->"


def notebooks() -> list[Path]:
    """Return the notebooks."""
    return sorted(FOLDER.glob("*.ipynb"))


def executed(path: Path, before: str = "") -> Any:
    """Run a notebook in an empty folder and return it with its outputs; raises nbclient's CellExecutionError.

    ``before`` is code that the kernel runs first, of which nothing is kept.
    """
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    notebook.cells.insert(0, nbformat.v4.new_code_cell(before))
    drawing = "module://matplotlib_inline.backend_inline"
    os.environ |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "MPLBACKEND": drawing}
    with tempfile.TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        NotebookClient(
            notebook, timeout=TIMEOUT_SECONDS, kernel_name="python3", resources=where,
            coalesce_streams=True,  # a kernel sends what a slow cell prints in pieces
        ).execute()  # fmt: skip
    del notebook.cells[0]
    for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
        cell.execution_count = count
        cell.metadata.pop("execution", None)
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = count
    return notebook


def page(path: Path) -> tuple[str, dict[str, bytes]]:
    """Return a notebook as a Markdown page, and its images by their file names."""
    notebook = nbformat.read(path, as_version=4)
    images: dict[str, bytes] = {}
    parts = [f"<!-- Written from notebooks/{path.name} by `make docs`; do not edit. -->"]
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            parts.append(cell.source.strip())
        else:
            parts.append(f"{_NOT_RUN}\n```python\n{cell.source.strip()}\n```")
            parts += [part for output in cell.outputs for part in _shown(output, path.stem, images)]
    return "\n\n".join(parts) + "\n", images


def _shown(output: Any, stem: str, images: dict[str, bytes]) -> Iterator[str]:
    if output.output_type == "stream":
        yield f"{_NOT_RUN}\n```text\n{output.text.rstrip()}\n```"
        return
    data = output.get("data", {})
    if "image/png" in data:
        name = f"{stem}-{len(images) + 1}.png"
        images[name] = base64.b64decode(data["image/png"])
        yield f"![The figure that this cell draws]({name})"
    elif "text/html" in data:
        html = re.sub(r"<style.*?</style>|\n\s*\n", "", data["text/html"], flags=re.DOTALL)
        yield re.sub(r"\n\s*", "\n", html.strip())
    elif "text/plain" in data:
        yield f"{_NOT_RUN}\n```text\n{data['text/plain'].rstrip()}\n```"


def main() -> int:
    """Run all notebooks and keep their outputs."""
    for path in notebooks():
        nbformat.write(executed(path), path)
        print(f"ran {path.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
