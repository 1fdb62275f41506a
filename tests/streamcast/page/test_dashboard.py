"""The live page's server: its answers, the size of its messages, and its limits against abuse."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection, HTTPResponse, IncompleteRead
from typing import Any

import pytest

from harness.feeder import FORECASTS, FREQ, RECORDS, SPEC, START, Feeder, fill, forecast
from streamcast.consumers.memory.transport import MemoryBroker, MemoryReader
from streamcast.consumers.transport import Batch, Connection, Partition, TopicSpec
from streamcast.hosts import host_of, is_loopback
from streamcast.page.board import Board, Numbers
from streamcast.page.feed import Feed
from streamcast.page.guard import Access
from streamcast.page.server import LivePage, PageServer, serve_dashboard

FILES = ["/", "/page.css", "/page.js", "/wall.js", "/detail.js", "/format.js", "/favicon.svg", "/plotly.min.js"]
SECONDS = 40.0
"""How long a test waits at most: a busy machine takes seconds for what takes milliseconds."""
HOSTILE = '../<script>alert(1)</script>"&%2f?#'


@pytest.fixture
def feeder() -> Feeder:
    return Feeder(70)


@pytest.fixture
def board(feeder: Feeder) -> Board:
    board = Board(SPEC, season=24)
    fill(board, feeder, 3)
    return board


@pytest.fixture
def server(board: Board) -> Iterator[PageServer]:
    with closing(serve_dashboard(board)) as running:
        yield running


@pytest.fixture(scope="module")
def still() -> Iterator[PageServer]:
    """A server whose board does not change, for the tests that only ask."""
    board = Board(SPEC, season=24)
    fill(board, Feeder(70), 3)
    with closing(serve_dashboard(board)) as running:
        yield running


def ask(server: PageServer, path: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, bytes]:
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)) as connection:
        connection.request(method, path, headers=headers)
        response = connection.getresponse()
        return response, response.read()


def ask_json(server: PageServer, path: str) -> Any:
    response, body = ask(server, path)
    assert response.status == 200, body
    return json.loads(body)


class Events:
    """One open stream of server-sent events."""

    def __init__(self, server: PageServer, query: str = "") -> None:
        self._connection = HTTPConnection("127.0.0.1", server.port, timeout=SECONDS)
        self._connection.request("GET", f"/events?{query}")
        self.response = self._connection.getresponse()

    def next(self) -> dict[str, Any]:
        line = self.response.readline()
        assert self.response.readline() == b"\n"
        message: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
        return message

    def until(self, reached: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """The next events, up to the first that has ``reached`` something: some may be from before it happened."""
        found = [self.next()]
        deadline = time.monotonic() + SECONDS
        while not reached(found[-1]):
            assert time.monotonic() < deadline, found[-1]
            found.append(self.next())
        return found

    def close(self) -> None:
        self._connection.close()


@pytest.mark.parametrize("path", FILES)
def test_the_page_is_complete_and_carries_its_policy(still: PageServer, path: str) -> None:
    response, body = ask(still, path)
    assert response.status == 200
    assert len(body) > 100
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'; " in policy
    assert "unsafe" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    assert "server" not in response.headers


@pytest.mark.parametrize("path", FILES[:-1])
def test_the_page_refers_to_no_other_site(still: PageServer, path: str) -> None:
    _, body = ask(still, path)
    assert b"//" not in body.replace(b"http://www.w3.org/2000/svg", b"").replace(b"// ", b"")


@pytest.mark.parametrize(
    "path",
    ["/..%2fboard.py", "/page/../../board.py", "/%2e%2e/board.py", "/page.css/", "/page/page.css", "/board.py"],
)
def test_no_other_file_is_served(still: PageServer, path: str) -> None:
    assert ask(still, path)[0].status == 404


@pytest.mark.parametrize("path", ["/", "/api/series", "/events", "/api/series/x"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(still: PageServer, method: str, path: str) -> None:
    assert ask(still, path, method)[0].status == 405


def test_the_wall_comes_in_pages(still: PageServer) -> None:
    pages = [ask_json(still, f"/api/series?sort=name&page={page}") for page in (1, 2, 999)]
    assert [(page["total"], page["pages"], page["page"]) for page in pages] == [(70, 2, 1), (70, 2, 2), (70, 2, 2)]
    keys = [tile["key"] for page in pages[:2] for tile in page["tiles"]]
    assert len(set(keys)) == 70
    assert keys == sorted(keys)


def test_the_wall_can_be_searched(still: PageServer) -> None:
    found = ask_json(still, "/api/series?query=PUMP&sort=name")
    assert found["total"] == 12
    assert all("pump" in key for key in found["order"])


@pytest.mark.parametrize("query", ["sort=random", "page=-1", "page=x", "page=%D9%A3", "page=99999999999999999999"])
def test_an_invalid_query_is_rejected_with_the_valid_choices(still: PageServer, query: str) -> None:
    for path in ("/api/series", "/events"):
        response, body = ask(still, f"{path}?{query}")
        assert response.status == 400
        assert "sort must be one of wrong, anomaly, late, name" in json.loads(body)["error"]


def test_one_series_is_shown_in_detail(still: PageServer) -> None:
    key = "line-a/pump-00003"
    view = ask_json(still, f"/api/series/{urllib.parse.quote(key)}")
    assert view["key"] == key
    assert view["labels"] == [START + bar * view["freq"] for bar in range(3)]
    assert len(view["lanes"]["champion"]["forecasts"]) == 3
    assert ask(still, "/api/series/nobody")[0].status == 404


def test_a_hostile_key_is_data_and_not_a_path(server: PageServer, board: Board) -> None:
    record = json.dumps({"key": HOSTILE, "ts": START, "values": [1.0]}).encode()
    board.take_records(Batch(RECORDS, [0], [START], [None], [record], 1))
    board.take_forecasts(Batch(FORECASTS, [0], [START], [None], [forecast(HOSTILE, START, {"0.5": [1.0]})], 1))
    view = ask_json(server, f"/api/series/{urllib.parse.quote(HOSTILE, safe='')}")
    assert view["key"] == HOSTILE
    assert ask_json(server, f"/api/series?{urllib.parse.urlencode({'query': '<SCRIPT>'})}")["order"] == [HOSTILE]


def test_the_first_event_holds_everything_and_the_next_only_what_changed(
    server: PageServer, board: Board, feeder: Feeder
) -> None:
    key = feeder.keys[0]
    with closing(Events(server, urllib.parse.urlencode({"sort": "name", "key": key}))) as events:
        first, second = events.next(), events.next()
        assert len(first["wall"]["tiles"]) == 60
        assert len(first["series"]["labels"]) == 3
        assert {"trend", "dead_letters"} <= first.keys()
        assert first["sizes"] == {"bars": 512, "trend": 150, "tile_bars": 48, "tile_steps": 24}
        assert second["wall"] == {"tiles": []}
        assert not {"sizes", "trend", "dead_letters"} & second.keys()
        assert second["series"]["lanes"]["champion"]["forecasts"] == []
        fill(board, feeder, 1)
        later = events.until(lambda each: (each["stats"]["records"], each["stats"]["forecasts"]) == (280, 560))
        assert len({tile["key"] for each in later for tile in each["wall"]["tiles"]}) == 60
        assert sum(len(each["series"]["labels"]) for each in later) == 1
        assert sum(len(each["series"]["lanes"]["champion"]["forecasts"]) for each in later) == 1


def test_a_page_gets_the_whole_series_when_another_partition_is_shown(server: PageServer, board: Board) -> None:
    def take(partition: int, *bars: int) -> None:
        rows = [json.dumps({"key": "x", "ts": START + bar * FREQ, "values": [1.0]}).encode() for bar in bars]
        count, source = len(rows), Partition("observations", partition)
        board.take_records(Batch(source, range(count), [START] * count, [None] * count, rows, count))

    take(1, 50)
    with closing(Events(server, "key=x")) as events:
        assert events.next()["series"]["partition"] == 1
        take(2, *range(40))
        shown = events.until(lambda each: each["series"]["partition"] == 2)[-1]["series"]
    assert shown["labels"] == [START + bar * FREQ for bar in range(40)]


def test_events_come_about_twice_a_second_at_any_input_rate(server: PageServer, board: Board, feeder: Feeder) -> None:
    began = time.monotonic()
    with closing(Events(server)) as events:
        for _ in range(4):
            for _ in range(10):
                board.take_records(feeder.records())
            events.next()
        assert time.monotonic() - began >= 1.4


def test_dead_letters_are_sent_when_there_are_new_ones(server: PageServer, board: Board, feeder: Feeder) -> None:
    with closing(Events(server)) as events:
        assert events.next()["dead_letters"] == []
        board.take_dead_letters(feeder.dead_letters([(b"<script>", "json", "bad")]))
        letter = events.until(lambda each: "dead_letters" in each)[-1]["dead_letters"][0]
        assert (letter["value"], letter["reason"]) == ("<script>", "json")


def test_an_unknown_key_is_null_until_its_first_record(server: PageServer, board: Board) -> None:
    with closing(Events(server, "key=later")) as events:
        assert events.next()["series"] is None
        board.take_forecasts(Batch(FORECASTS, [0], [START], [None], [forecast("later", START, {"0.5": [1.0]})], 1))
        assert events.until(lambda each: each["series"] is not None)[-1]["series"]["key"] == "later"


def test_pages_beyond_the_limit_get_503_until_another_closes(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcast.page.application._MOST_STREAMS", 3)
    with closing(serve_dashboard(board)) as server, ExitStack() as stack:
        open_pages = [stack.enter_context(closing(Events(server))) for _ in range(3)]
        for page in open_pages:
            page.next()
        with closing(Events(server)) as refused:
            assert refused.response.status == 503
        open_pages[0].close()
        until = time.monotonic() + SECONDS
        while True:
            with closing(Events(server)) as again:
                if again.response.status == 200:
                    break
            assert time.monotonic() < until
            time.sleep(0.1)


def test_the_streams_of_one_client_do_not_lock_out_another(board: Board) -> None:
    with closing(serve_dashboard(board, "0.0.0.0")) as server, ExitStack() as stack:
        mine = [stack.enter_context(closing(Events(server))) for _ in range(64)]
        assert [page.response.status for page in mine] == [200] * 16 + [503] * 48
        assert b"16 pages are open from 127.0.0.1" in mine[-1].response.read()
        other = HTTPConnection("127.0.0.1", server.port, timeout=SECONDS, source_address=("127.0.0.2", 0))
        with closing(other):
            other.request("GET", "/events")
            assert other.getresponse().status == 200


def test_idle_connections_of_one_client_are_dropped_for_another(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcast.page.server._RECEIPT_SECONDS", 10 * SECONDS)
    with closing(serve_dashboard(board, "0.0.0.0")) as server, ExitStack() as stack:
        for last in (1, 3, 4):
            for _ in range(100):
                opened = socket.create_connection(("127.0.0.1", server.port), SECONDS, (f"127.0.0.{last}", 0))
                stack.enter_context(opened)
        connection = HTTPConnection("127.0.0.1", server.port, timeout=SECONDS, source_address=("127.0.0.2", 0))
        with closing(connection):
            connection.request("GET", "/api/series")
            assert connection.getresponse().status == 200


def test_only_local_names_are_answered_on_loopback(still: PageServer) -> None:
    assert ask(still, "/", Host=f"localhost:{still.port}")[0].status == 200
    assert ask(still, "/", Host=f"[::1]:{still.port}")[0].status == 200
    assert ask(still, "/", Host="attacker.example")[0].status == 400


def test_a_page_answers_only_to_its_addresses_and_names(board: Board) -> None:
    with closing(serve_dashboard(board, "0.0.0.0", access=Access(name="Forecasts.example"))) as server:
        for host in ("localhost", "127.0.0.1", "10.1.2.3", "[::1]", "forecasts.example", socket.gethostname()):
            for given in (host, f"{host}:{server.port}"):
                assert ask(server, "/", Host=given)[0].status == 200, given
        for host in ("attacker.example", "localhost.attacker.example", "127.0.0.1.attacker.example", ""):
            response, body = ask(server, "/", Host=host)
            assert response.status == 400, host
            assert b"set dashboard.name" in body


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_a_page_with_a_token_shows_nothing_without_it(board: Board) -> None:
    with closing(serve_dashboard(board, access=Access(token="open: sesame"))) as server:
        for path in (*FILES, "/api/series", "/events", "/nothing"):
            response, body = ask(server, path)
            assert response.status == 401, path
            assert response.headers["www-authenticate"].startswith("Basic ")
            assert response.headers["x-content-type-options"] == "nosniff"
            assert body == b"this page needs its token: any user name, and dashboard.token as the password\n"
        assert ask(server, "/livez")[0].status == 200
        for given in (basic("me", "open: sesame"), basic("", "open: sesame"), "Bearer open: sesame"):
            assert ask(server, "/api/series", Authorization=given)[0].status == 200
        for given in (
            basic("me", "open"),
            basic("open: sesame", ""),
            "Bearer x",
            "Basic %%",
            "Basic",
            "Digest open: sesame",
        ):
            assert ask(server, "/api/series", Authorization=given)[0].status == 401


@pytest.mark.parametrize(
    ("header", "host"),
    [("a.example:80", "a.example"), ("A.example", "a.example"), ("[::1]:80", "::1"), ("[::1]", "::1"), ("", "")],
)
def test_the_host_is_read_without_its_port(header: str, host: str) -> None:
    assert host_of(header) == host


def test_loopback_is_what_only_this_machine_reaches() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "localhost", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "10.0.0.1", "host.example")))


def test_a_request_that_trickles_in_is_cut(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcast.page.server._RECEIPT_SECONDS", 0.5)
    with (
        closing(serve_dashboard(board)) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=0.1) as connection,
    ):
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            try:
                connection.sendall(b"G")
                if connection.recv(1) == b"":
                    break
            except TimeoutError:
                continue
            except ConnectionError:
                break
        else:
            pytest.fail("a request sent byte by byte was never cut")


def test_giant_headers_and_huge_bodies_are_not_read(still: PageServer) -> None:
    with socket.create_connection(("127.0.0.1", still.port), timeout=SECONDS) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 20_000)
        assert connection.recv(100).startswith(b"HTTP/1.1 400")
    with socket.create_connection(("127.0.0.1", still.port), timeout=SECONDS) as connection:
        connection.sendall(
            b"POST /api/series HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\n" + b"a" * 1000
        )
        assert connection.recv(100).startswith(b"HTTP/1.1 405")
    assert ask(still, "/")[0].status == 200


def test_many_idle_connections_do_not_take_the_page_away(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcast.page.server._RECEIPT_SECONDS", 1.0)
    with closing(serve_dashboard(board)) as server, ExitStack() as stack:
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=SECONDS))
        until = time.monotonic() + SECONDS
        while True:
            try:
                if ask(server, "/")[0].status == 200:
                    break
            except OSError:
                pass
            assert time.monotonic() < until
            time.sleep(0.1)


PLOTLY = b"GET /plotly.min.js HTTP/1.1\r\nHost: localhost\r\n\r\n"
ENDLESS = b"POST /api/series HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\n\r\nx"


def hold(server: PageServer, request: bytes, client: str) -> socket.socket:
    """Send a request and read nothing."""
    opened = socket.socket()
    opened.settimeout(SECONDS)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    opened.bind((client, 0))
    opened.connect(("127.0.0.1", server.port))
    opened.sendall(request)
    return opened


def is_cut(answer: HTTPResponse) -> bool:
    """Read a line of a stream; whether there was none."""
    try:
        return answer.readline() == b""
    except (ConnectionError, IncompleteRead):
        return True


def eventually(reached: Callable[[], object]) -> None:
    """Wait until something is so."""
    until = time.monotonic() + SECONDS
    while not reached():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("request_sent", [PLOTLY, ENDLESS], ids=["an answer that is not read", "a body without end"])
def test_connections_that_are_held_open_lock_nobody_out(
    board: Board, monkeypatch: pytest.MonkeyPatch, request_sent: bytes
) -> None:
    for name in ("_RECEIPT_SECONDS", "_ANSWER_SECONDS"):
        monkeypatch.setattr(f"streamcast.page.server.{name}", 100 * SECONDS)
    with closing(serve_dashboard(board, access=Access(token="open sesame"))) as server, ExitStack() as stack:
        sent = request_sent.replace(b"\r\n\r\n", b"\r\nAuthorization: Bearer open sesame\r\n\r\n")
        for last in (1, 2, 3):
            for _ in range(70):
                stack.enter_context(closing(hold(server, sent, f"127.0.0.{last}")))
        connections = server._server.server_state.connections
        eventually(lambda: len(connections) == 128)
        for client in ("127.0.0.1", "127.0.0.9"):
            with closing(hold(server, b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n", client)) as probe:
                assert probe.recv(15) == b"HTTP/1.1 200 OK"


def test_the_oldest_of_the_busiest_client_makes_way(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcast.page.server.MOST_CONNECTIONS", 4)
    with closing(serve_dashboard(board)) as server, ExitStack() as stack:

        def reader(client: str) -> HTTPConnection:
            made = HTTPConnection("127.0.0.1", server.port, timeout=SECONDS, source_address=(client, 0))
            return stack.enter_context(closing(made))

        def stream(client: str) -> HTTPResponse:
            connection = reader(client)
            connection.request("GET", "/events")
            answer = connection.getresponse()
            assert answer.readline().startswith(b"data: ")
            return answer

        single, oldest, second, third = (stream(f"127.0.0.{last}") for last in (7, 8, 8, 8))
        probe = reader("127.0.0.9")
        probe.request("GET", "/livez")
        assert probe.getresponse().status == 200
        eventually(lambda: is_cut(oldest))
        for answer in (single, second, third):
            assert [answer.readline() for _ in range(2)][-1].startswith((b"data: ", b"\n"))


def test_an_answer_that_is_not_read_in_time_is_cut_and_a_stream_of_events_is_not(
    board: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamcast.page.server._ANSWER_SECONDS", 0.2)
    with closing(serve_dashboard(board)) as server, closing(Events(server)) as events:
        connections = server._server.server_state.connections
        with closing(hold(server, PLOTLY, "127.0.0.1")) as held:
            eventually(lambda: len(connections) == 2)
            eventually(lambda: len(connections) == 1)
            got = 0
            with suppress(ConnectionError):
                while more := len(held.recv(1 << 16)):
                    got += more
        assert got < 4_000_000, "the file has more"
        assert [sorted(events.next()) for _ in range(4)][-1] == ["stats", "wall"]


def test_a_body_that_trickles_in_is_cut(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcast.page.server._RECEIPT_SECONDS", 0.2)
    with closing(serve_dashboard(board)) as server, closing(hold(server, ENDLESS, "127.0.0.1")) as held:
        assert held.recv(12) == b"HTTP/1.1 405"

        def is_cut() -> bool:
            try:
                held.sendall(b"x")
            except ConnectionError:
                return True
            return False

        eventually(is_cut)
        assert ask(server, "/")[0].status == 200


def test_a_request_with_a_short_body_is_answered_and_the_next_too(still: PageServer) -> None:
    with closing(HTTPConnection("127.0.0.1", still.port, timeout=SECONDS)) as connection:
        for method, body, status in (("POST", b"x" * 100, 405), ("GET", b"y", 200), ("GET", None, 200)):
            connection.request(method, "/api/series", body)
            response = connection.getresponse()
            assert (response.status, len(response.read()) > 0) == (status, True)


def test_closing_frees_the_port_even_while_a_page_is_open(board: Board) -> None:
    server = serve_dashboard(board)
    with closing(Events(server)) as events:
        events.next()
        server.close()
    assert server.wait(0.0)
    with closing(serve_dashboard(board, port=server.port)) as again:
        assert ask(again, "/")[0].status == 200


def test_a_live_page_feeds_itself() -> None:
    board = Board(SPEC, season=24)
    reader = MemoryReader(MemoryBroker(), Connection("memory", "page"))
    feed = Feed(reader, board, observations="observations", forecasts="forecasts", dead_letters="dead-letters")
    with closing(LivePage(board, feed, lambda: {"lag_records": 7.0})) as page:
        server = page._server
        with closing(Events(server)) as events:

            def fed(each: dict[str, Any]) -> bool:
                return bool(each["stats"]["trouble"] and each["stats"]["now"] and each["stats"]["now"]["service"])

            stats = events.until(fed)[-1]["stats"]
        assert stats["now"]["lag_records"] == 7
        assert stats["trouble"] == "there is no topic observations, forecasts, dead-letters"


def test_a_live_page_is_reading_until_its_readers_have_looked() -> None:
    asked = threading.Event()

    def numbers() -> Numbers:
        asked.wait(SECONDS)
        return {}

    board = Board(SPEC, season=24)
    reader = MemoryReader(MemoryBroker(), Connection("memory", "page"))
    feed = Feed(reader, board, observations="observations", forecasts="forecasts", dead_letters="dead-letters")
    with closing(LivePage(board, feed, numbers)) as page, closing(Events(page._server)) as events:
        assert events.next()["stats"]["reading"] is not None
        asked.set()
        events.until(lambda each: each["stats"]["reading"] is None and each["stats"]["now"]["service"])


class Torn(MemoryReader):
    """A reader whose client fails in a way that nobody expected."""

    def describe(self, topics: Sequence[str]) -> dict[str, TopicSpec]:
        raise RuntimeError("the client is torn")


def test_a_reader_that_dies_says_so_on_the_page_and_in_the_probe() -> None:
    board = Board(SPEC, season=24)
    reader = Torn(MemoryBroker(), Connection("memory", "page"))
    feed = Feed(reader, board, observations="observations", forecasts="forecasts", dead_letters="dead-letters")
    words = "the reader of the topics has stopped (RuntimeError: the client is torn): restart the page"
    with closing(LivePage(board, feed, lambda: None)) as page, closing(Events(page._server)) as events:
        trouble = events.until(lambda each: each["stats"]["trouble"])[-1]["stats"]["trouble"]
        assert trouble == words
        response, body = ask(page._server, "/livez")
        assert (response.status, body.decode()) == (503, f"{trouble}\n")


def test_numbers_of_a_reader_that_died_are_not_shown_any_more() -> None:
    torn = threading.Event()

    def numbers() -> Numbers:
        if torn.is_set():
            raise IndexError("the client is torn")
        return {"lag_records": 7.0}

    board = Board(SPEC, season=24)
    feed = Feed(
        MemoryReader(MemoryBroker(), Connection("memory", "page")), board,
        observations="observations", forecasts="forecasts", dead_letters="dead-letters",
    )  # fmt: skip
    with closing(LivePage(board, feed, numbers)) as page, closing(Events(page._server)) as events:
        assert ask(page._server, "/livez")[0].status == 200
        torn.set()
        until = time.monotonic() + SECONDS
        while ask(page._server, "/livez")[0].status == 200:
            assert time.monotonic() < until
            time.sleep(0.1)
        events.until(lambda each: each["stats"]["now"] is not None and not each["stats"]["now"]["service"])
        assert b"the reader of the service's numbers has stopped (IndexError" in ask(page._server, "/livez")[1]
