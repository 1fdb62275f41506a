"""Runs the live page: the application on a socket with limits, and the threads that feed its board."""

from __future__ import annotations

import asyncio
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

from streamcast.page.application import create_app
from streamcast.page.board import Board, Numbers, ServedLane
from streamcast.page.feed import Feed, follow
from streamcast.page.guard import OPEN, Access
from streamcast.page.scrape import watch

log = logging.getLogger("streamcast")

_RECEIPT_SECONDS: Final = 5.0
MOST_CONNECTIONS: Final = 128
MOST_OF_CLIENT: Final = 64
_LONGEST_HEAD: Final = 16_384
_CLOSE_SECONDS: Final = 5.0


class _Bounded(H11Protocol):
    """HTTP/1.1 with limits on connections, in all and by client, and on the time that a request may take to arrive.

    A connection beyond a limit takes the place of the oldest idle one of the client with the most; it is aborted if
    none is idle.
    """

    _deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept a connection; beyond a limit, abort an idle one for it, or else itself."""
        super().connection_made(transport)
        self._wait()
        crowding = self._crowding()
        if crowding is not None:
            crowding.transport.abort()

    def _crowding(self) -> _Bounded | None:
        """The connection that is one too many, if any."""
        everybody = [
            each for each in self.connections if isinstance(each, _Bounded) and not each.transport.is_closing()
        ]
        count = Counter(each.address for each in everybody)
        if count[self.address] > MOST_OF_CLIENT:
            candidates = [each for each in everybody if each.address == self.address]
        elif len(everybody) > MOST_CONNECTIONS:
            candidates = everybody
        else:
            return None
        idle = [(-count[each.address], each.idle_until, each) for each in candidates if each is not self]
        return min((each for each in idle if each[1]), key=lambda each: each[:2], default=(0, 0.0, self))[2]

    @property
    def address(self) -> str:
        """The client's address without its port."""
        return self.client[0] if self.client else ""

    @property
    def idle_until(self) -> float:
        """When the wait for a request ends; 0 when the request has arrived."""
        return self._deadline.when() if self._deadline else 0.0

    def data_received(self, data: bytes) -> None:
        """Take bytes; cancel the deadline when the request is complete."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_waiting()
        elif self._deadline is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the deadline."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._deadline = self.loop.call_later(_RECEIPT_SECONDS, self.transport.abort)

    def _stop_waiting(self) -> None:
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
