"""Text for a rich console that is printed as it is: no markup of its own, and no control characters."""

from __future__ import annotations

import rich.markup

from streamcast.printable import escaped_lines


def escape(text: str) -> str:
    """Return a text whose lines a rich console prints as they are, whoever wrote them; see ``streamcast.printable``."""
    return rich.markup.escape(escaped_lines(text))
