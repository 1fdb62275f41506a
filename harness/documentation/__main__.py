"""Write the generated pages of docs/: ``python -m harness.documentation``, a part of `make docs`."""

from __future__ import annotations

from harness import ROOT
from harness.documentation import notebooks, page_api, reference
from streamcast.app import settings
from streamcast.topics import asyncapi

DOCS = ROOT / "docs"


def main() -> None:
    """Write every page whose source is code, settings or a notebook."""
    asyncapi.write_docs(DOCS)
    settings.write_docs(DOCS)
    page_api.write_docs(DOCS)
    for name, page in reference.PAGES.items():
        (DOCS / name).write_text(page(), encoding="utf-8")
    notebooks.PAGES.mkdir(exist_ok=True)
    for path in notebooks.notebooks():
        text, images = notebooks.page(path)
        (notebooks.PAGES / f"{path.stem}.md").write_text(text, encoding="utf-8")
        for name, image in images.items():
            (notebooks.PAGES / name).write_bytes(image)


if __name__ == "__main__":
    main()
