"""Who may read the page: requests for one of its names, with the token if there is one."""

from __future__ import annotations

import base64
import binascii
import hmac
import socket
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from streamcast.hosts import host_of, is_address

_ASK: Final = {"www-authenticate": 'Basic realm="streamcast", charset="UTF-8"'}


@dataclass(frozen=True, slots=True)
class Access:
    """``name`` is one by which browsers reach the page; without a ``token`` everybody who reaches it may read."""

    name: str | None = None
    token: str | None = None


OPEN: Final = Access()
PROBE: Final = "/livez"


class Guard:
    """Rejects requests for other hosts, and requests without the token.

    A Host that is an address is always accepted: to point a name of its own at the page (DNS rebinding), another site
    needs a name.  Browsers send the token as the password of HTTP Basic, with any user name; programs may send it as a
    Bearer token.  The probe needs none.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._token = app, access.token
        self._names = {name.lower() for name in ("localhost", socket.gethostname(), access.name) if name}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        host = host_of(headers.get("host", ""))
        if not (is_address(host) or host in self._names):
            text = f"{host[:64]!r} is not a name of this page: use its address, or set dashboard.name to the name\n"
            await PlainTextResponse(text, 400)(scope, receive, send)
        elif not self._may_read(scope["path"], headers.get("authorization", "")):
            text = "this page needs its token: any user name, and dashboard.token as the password\n"
            await PlainTextResponse(text, 401, _ASK)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _may_read(self, path: str, authorization: str) -> bool:
        if self._token is None or path == PROBE:
            return True
        return hmac.compare_digest(token_of(authorization), self._token.encode())


def token_of(authorization: str) -> bytes:
    """The token in an Authorization header; empty if there is none."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip().encode()
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(rest.strip(), validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""
