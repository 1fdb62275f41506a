"""Runs the live page: the application on a socket with limits, and the threads that feed its board."""

from __future__ import annotations

import asyncio
import itertools
import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from streamcast.page.application import EVENTS, create_app
from streamcast.page.board import Board, Numbers, ServedLane
from streamcast.page.feed import Feed, follow
from streamcast.page.guard import OPEN, Access
from streamcast.page.scrape import watch

log = logging.getLogger("streamcast")

_RECEIPT_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 60.0
"""The largest file has 5 MB: the slowest line for it is one of 0.7 Mbit/s."""
MOST_CONNECTIONS: Final = 128
MOST_OF_CLIENT: Final = 64
_LONGEST_HEAD: Final = 16_384
_CLOSE_SECONDS: Final = 5.0
_NUMBERS: Final = itertools.count()


class _Bounded(H11Protocol):
    """HTTP/1.1 with limits on connections, in all and by client, and on the time of a request and of its answer.

    A new connection is always accepted, so that probes are always answered.  Beyond a limit it takes the place of an
    older one: first of one that waits for a request, of the client with the most, the oldest.  Nobody reads the body of
    a request: after the answer, a connection on which one is still coming waits for a request like any other.
    """

    _deadline: asyncio.TimerHandle | None = None
    waiting = False
    """Whether the next thing to come is a request, not an answer."""
    number = 0
    cut = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection; beyond a limit, abort an older one for it."""
        super().connection_made(transport)
        self.number = next(_NUMBERS)
        self._wait()
        crowding = self._crowding()
        if crowding is not None:
            crowding.abort()

    def _crowding(self) -> _Bounded | None:
        """The connection that is one too many, if any."""
        everybody = [each for each in self.connections if isinstance(each, _Bounded) and not each.cut]
        count = Counter(each.address for each in everybody)
        if count[self.address] > MOST_OF_CLIENT:
            candidates = [each for each in everybody if each.address == self.address]
        elif len(everybody) > MOST_CONNECTIONS:
            candidates = everybody
        else:
            return None
        others = (each for each in candidates if each is not self)
        return min(others, key=lambda each: (not each.waiting, -count[each.address], each.number))

    @property
    def address(self) -> str:
        """The client's address without its port."""
        return self.client[0] if self.client else ""

    def abort(self) -> None:
        """Close the connection at once; what is not sent yet is lost."""
        self.cut = True
        self.transport.abort()

    def handle_events(self) -> None:
        """Answer a request whose head has arrived, within a time of its own unless it is a stream of events."""
        before = self.cycle
        super().handle_events()
        if self.cycle is before:
            return
        self.waiting = False
        bodyless = self.conn.their_state is not h11.SEND_BODY
        if bodyless and (self.scope["method"], self.scope["path"]) == ("GET", EVENTS):
            self._stop_deadline()  # it has a limit for each message
        else:
            self._set_deadline(_ANSWER_SECONDS)

    def on_response_complete(self) -> None:
        """Wait for the next request, unless it is there already, or a part of the answer waits to be read."""
        answered = self.cycle
        super().on_response_complete()
        if self.cycle is not answered:
            return
        if not self.transport.get_write_buffer_size():
            self._wait()
        elif self._deadline is None:
            self._set_deadline(_ANSWER_SECONDS)

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline."""
        self._stop_deadline()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self.waiting = True
        self._set_deadline(_RECEIPT_SECONDS)

    def _set_deadline(self, seconds: float) -> None:
        self._stop_deadline()
        self._deadline = self.loop.call_later(seconds, self.abort)

    def _stop_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class PageServer:
    """Serves an application at ``url``, in a thread, until ``close``.

    Raises OSError when the address is in use.
    """

    def __init__(self, app: ASGIApp, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=MOST_CONNECTIONS)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"
        config = uvicorn.Config(
            app,
            http=_Bounded,
            ws="none",
            lifespan="off",
            log_config=None,
            log_level=logging.CRITICAL,
            server_header=False,
            limit_concurrency=2 * MOST_CONNECTIONS,  # those that are being aborted count, too
            h11_max_incomplete_event_size=_LONGEST_HEAD,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="page", daemon=True)
        self._thread.start()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until the server ends; False after the timeout."""
        self._thread.join(timeout_seconds)
        return not self._thread.is_alive()

    def close(self) -> None:
        """Stop serving and free the port, within five seconds."""
        self._server.should_exit = True
        self._thread.join(_CLOSE_SECONDS)
        self._socket.close()


class LivePage:
    """The page and the threads that feed it, until ``close``.

    ``numbers`` returns the service's own numbers (``Scraper(url)``, or ``Telemetry.summary`` in the same process),
    ``problems`` why it is not ready, and ``lanes`` those that it runs; they are asked one after the other.
    Raises OSError when the address is in use.
    """

    def __init__(
        self,
        board: Board,
        feed: Feed,
        numbers: Callable[[], Numbers | None],
        host: str = "127.0.0.1",
        port: int = 0,
        access: Access = OPEN,
        problems: Callable[[], Sequence[str]] = tuple,
        lanes: Callable[[], Mapping[str, ServedLane]] = dict,
    ) -> None:
        self._stop = threading.Event()
        board.start_reading()
        self._server = serve_dashboard(board, host, port, access)
        self.url = self._server.url
        self._threads = [
            _reader("the topics", board, partial(follow, feed, board, self._stop), board.report_trouble),
            _reader(
                "the service's numbers",
                board,
                partial(watch, numbers, problems, lanes, board, self._stop),
                lambda _: board.report_service(None),
            ),
        ]
        for thread in self._threads:
            thread.start()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """Wait until the page ends; False after the timeout."""
        return self._server.wait(timeout_seconds)

    def close(self) -> None:
        """Stop reading and serving, within ten seconds."""
        self._stop.set()
        self._server.close()
        for thread in self._threads:
            thread.join(_CLOSE_SECONDS)


def _reader(what: str, board: Board, read: Callable[[], None], show: Callable[[str], None]) -> threading.Thread:
    """Return a thread that reads for the page; if an error ends it, ``show`` says so, and the page's probe does."""

    def run() -> None:
        try:
            read()
        except Exception as error:
            log.exception("the page's reader of %s has stopped", what)
            reason = f"the reader of {what} has stopped ({type(error).__name__}: {error}): restart the page"
            board.report_stopped(reason)
            show(reason)

    return threading.Thread(target=run, name=f"page reads {what}", daemon=True)


def serve_dashboard(board: Board, host: str = "127.0.0.1", port: int = 0, access: Access = OPEN) -> PageServer:
    """Start serving ``board`` at ``host``:``port`` (0 picks a free one); raises OSError when the address is taken."""
    return PageServer(create_app(board, access), host, port)
