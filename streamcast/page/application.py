"""The live page as an application: static files, views of the board as JSON, and server-sent events.

It is read-only, ignores request bodies, and answers a fixed list of paths. A content security policy lets the page run
its own scripts only.  Other programs may build on ``/api/`` (docs/page-api.md); ``/events`` is the page's own.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from typing import Final

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from streamcast.page import views
from streamcast.page.board import Board
from streamcast.page.guard import OPEN, Access, Guard

_FILES: Final = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
    "/wall.js": ("wall.js", "text/javascript"),
    "/detail.js": ("detail.js", "text/javascript"),
    "/format.js": ("format.js", "text/javascript"),
    "/favicon.svg": ("favicon.svg", "image/svg+xml"),
}
_PLOTLYS_STYLES: Final = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"  # of an empty element, which Plotly fills by script
    " 'sha256-ji27qzEtxXZW+7dun6UwjHXJ18e6WAin1VvNtkzIE/o='"  # of the map library in its bundle
)
"""Hashes of the <style> elements that Plotly creates. Browsers block those of another version; charts still draw."""

_HEADERS: Final = {
    "content-security-policy": (
        f"default-src 'none'; script-src 'self'; style-src 'self' {_PLOTLYS_STYLES}; img-src 'self' data:;"
        " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}
EVENTS: Final = "/events"
_TICK_SECONDS: Final = 0.5
_RANKING_TICKS: Final = 10
_SEND_SECONDS: Final = 10.0
_MOST_STREAMS: Final = 64
_MOST_STREAMS_OF_CLIENT: Final = 16
LONGEST_QUERY: Final = 512


def create_app(board: Board, access: Access = OPEN) -> Starlette:
    """Make the application that shows ``board`` to those who have ``access``."""
    page = resources.files("streamcast") / "page" / "static"
    plotly = str(resources.files("plotly") / "package_data" / "plotly.min.js")
    streams = _Streams()

    def static(path: str) -> Route:
        name, media_type = _FILES[path]
        content = (page / name).read_bytes()

        async def answer(_: Request) -> Response:
            return Response(content, media_type=media_type)

        return Route(path, answer)

    async def plotly_js(_: Request) -> Response:
        return FileResponse(plotly, media_type="text/javascript")

    async def events(request: Request) -> Response:
        look = _Look(board, request)
        client = request.client.host if request.client else ""
        if refusal := streams.refusal(client):
            return Response(refusal, 503, {"retry-after": "10"})
        return _EventStream(look.events(), streams, client)

    async def livez(_: Request) -> Response:
        found = "".join(f"{' '.join(stopped.split())}\n" for stopped in board.stopped)
        return PlainTextResponse(found or "ok\n", 503 if found else 200)

    async def wall(request: Request) -> Response:
        return _json(_Look(board, request).wall())

    async def series(request: Request) -> Response:
        key = request.path_params["key"]
        view = views.series(board, key)
        error = f"no series has the key {key[:64]!r}: /api/series lists the keys"
        return _json({"error": error}, 404) if view is None else _json(view)

    async def refuse(_: Request, error: Exception) -> Response:
        return _json({"error": str(error)}, 400)

    app = Starlette(
        routes=[
            *map(static, _FILES),
            Route("/plotly.min.js", plotly_js),
            Route(EVENTS, events),
            Route("/livez", livez),
            Route("/api/series", wall),
            Route("/api/series/{key:path}", series),
        ],
        middleware=[Middleware(_SafeHeaders), Middleware(Guard, access=access)],
        exception_handlers={ValueError: refuse},
    )
    app.router.redirect_slashes = False
    return app


def _json(view: views.View, status: int = 200) -> Response:
    return Response(views.encode(view), status, media_type="application/json")


class _Look:
    """One page's query (search text, order, page number, key), and what that page already has.

    Raises ValueError for an invalid query string.
    """

    def __init__(self, board: Board, request: Request) -> None:
        asked = request.query_params
        self._board = board
        self._query = asked.get("query", "")[:LONGEST_QUERY]
        self._sort = asked.get("sort", "wrong")
        self._key = asked.get("key")
        number = asked.get("page", "1")
        if self._sort not in views.SORTS or not (number.isascii() and number.isdigit() and len(number) < 7):
            wanted = f"sort must be one of {', '.join(views.SORTS)}, and page a number from 1 to 999999"
            raise ValueError(f"sort={self._sort[:32]!r}, page={number[:32]!r}: {wanted}")
        self._page = max(int(number), 1)
        self._order: list[str] = []
        self._versions: dict[str, views.Version] = {}
        self._partition: int | None = None
        self._since_bar: int | None = None
        self._since_cutoff: dict[str, int] = {}

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the changes, twice a second, as server-sent events; the first holds everything."""
        sent_dead_letters = -1
        sent_windows: Mapping[str, str] = {}
        for tick in itertools.count():
            message: views.View = {"stats": views.stats(self._board)}
            if tick == 0:
                message |= {"sizes": views.sizes(self._board), "trend": views.trend(self._board)}
            if sent_dead_letters != (sent_dead_letters := self._board.counts["dead_letters"]):
                message["dead_letters"] = views.dead_letters(self._board)
            if sent_windows != (sent_windows := views.windows(self._board)):
                message["windows"] = sent_windows
            message["wall"] = self.wall() if tick % _RANKING_TICKS == 0 else {"tiles": self._tiles()}
            if self._key is not None:
                message["series"] = self._series(self._key)
            yield b"data: " + views.encode(message) + b"\n\n"
            await asyncio.sleep(_TICK_SECONDS)

    def wall(self) -> views.View:
        """One page of the ranking, with the tiles that changed; a page number past the end gives the last page."""
        keys = views.ranking(self._board, self._query, self._sort)
        pages = max(-(-len(keys) // views.PAGE), 1)
        page = min(self._page, pages)
        self._order = keys[(page - 1) * views.PAGE : page * views.PAGE]
        self._versions = {key: self._versions[key] for key in self._order if key in self._versions}
        return {"total": len(keys), "pages": pages, "page": page, "order": self._order, "tiles": self._tiles()}

    def _tiles(self) -> list[views.View]:
        tiles = views.tiles(self._board, self._order, self._versions)
        self._versions |= {tile["key"]: tile["version"] for tile in tiles}
        return tiles

    def _series(self, key: str) -> views.View | None:
        view = views.series(self._board, key, self._since_bar, self._since_cutoff)
        if view is not None and view["partition"] != self._partition:  # the page has nothing of this one
            self._since_cutoff = {}
            view = views.series(self._board, key)
        if view is None:
            return None
        self._partition = view["partition"]
        self._since_bar = view["open_from"]
        for lane, shown in view["lanes"].items():
            if shown["forecasts"]:
                self._since_cutoff[lane] = shown["forecasts"][-1]["cutoff"]
        return view


class _Streams:
    """How many event streams are open, in all and by client."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()

    def refusal(self, client: str) -> str:
        """Why a client gets no further stream; empty if it gets one."""
        if self._open[client] >= _MOST_STREAMS_OF_CLIENT:
            found = f"{_MOST_STREAMS_OF_CLIENT} pages are open from {client}"
        elif self._open.total() >= _MOST_STREAMS:
            found = f"{_MOST_STREAMS} pages are open"
        else:
            return ""
        return f"{found}, the most allowed: close one and reload\n"

    @contextmanager
    def one(self, client: str) -> Iterator[None]:
        """Count a stream while it is open."""
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            self._open += Counter()  # drops clients without a stream


class _EventStream(StreamingResponse):
    """A stream that is counted while it is open, and disconnects a reader who accepts no data for ten seconds."""

    def __init__(self, events: AsyncIterator[bytes], streams: _Streams, client: str) -> None:
        super().__init__(events, media_type="text/event-stream")
        self._streams, self._client = streams, client

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._streams.one(self._client):
            await super().__call__(scope, receive, send)

    async def stream_response(self, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(_SEND_SECONDS):
                await send(message)

        await super().stream_response(send_in_time)


class _SafeHeaders:
    """Adds security headers to every response."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._headers = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        await self._app(scope, receive, send_with_headers)
