"""The code blocks, commands in running text, and links of a Markdown page."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

_COMMENT = re.compile(r"<!--\s*(not run|given|stays):\s*(.*?)\s*-->", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """One code block: where it begins, its language and text, and what the comments before it say."""

    page: Path
    line: int
    language: str
    text: str
    not_run: str = ""
    given: tuple[str, ...] = ()
    stays: str = ""

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Yield the code blocks of a page in their order; one that is indented instead of fenced has no language."""
    said: list[tuple[str, str]] = []
    for token in _tokens(page):
        if token.type == "html_block":
            said += _COMMENT.findall(token.content)
        elif token.type in {"fence", "code_block"}:
            marks = dict(said)
            given = tuple(detail for kind, detail in said if kind == "given")
            line = (token.map or [0])[0] + 1
            language = token.info.partition(" ")[0]
            yield Block(page, line, language, token.content, marks.get("not run", ""), given, marks.get("stays", ""))
            said = []
        elif token.type == "inline":
            said = []


def inline_code(page: Path) -> Iterator[str]:
    """Yield the text of each code span."""
    for token in _tokens(page):
        yield from (child.content for child in token.children or () if child.type == "code_inline")


def links(page: Path) -> Iterator[str]:
    """Yield the target of each link and image."""
    for token in _tokens(page):
        for child in token.children or ():
            target = child.attrGet("href") if child.type == "link_open" else child.attrGet("src")
            if isinstance(target, str):
                yield target


def commands(text: str) -> Iterator[str]:
    """Yield the commands of a shell block: continued lines are joined, comments and empty lines left out."""
    for line in text.replace("\\\n", " ").splitlines():
        command = re.sub(r"(^|\s)#.*$", "", line).strip()
        if command:
            yield command


def _tokens(page: Path) -> list[Token]:
    return MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
