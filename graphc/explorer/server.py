"""A server on the loopback that answers only the one who was given its address.

What it holds against pages of other origins, and against other users of the machine: it listens on
127.0.0.1 alone; a request must name it by a loopback name (a name of somebody else's that resolves
to 127.0.0.1 is refused) and come from no other origin; the path begins with a random token, which
what changes something must carry in a header too. It reads no file.
"""

from __future__ import annotations

import errno
import hmac
import logging
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

from graphc.errors import InputError, missing

LOOPBACK = "127.0.0.1"
NAMES = (LOOPBACK, "localhost", "[::1]")
HEADER = "X-Graphc-Token"
BODY = 1024
"""Bytes from which on a body is refused: no request needs one."""
CONNECTIONS = 64
"""Connections at once, beyond which others wait."""
IDLE = 10
"""Seconds after which a connection that says nothing is closed."""
WHOLE = 64 << 20
"""Bytes of an answer that are held in memory: more than any page has."""
ALWAYS = (
    ("Cache-Control", "no-store"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
"""Headers of every answer."""


@dataclass(frozen=True)
class Answer:
    """An answer: its status, its body, and what the browser may do with it."""

    body: str
    status: HTTPStatus = HTTPStatus.OK
    type: str = "text/plain"
    policy: str = "default-src 'none'"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Request:
    """A request that may be answered: the parts of its path after the token, and its query."""

    parts: tuple[str, ...]
    query: Mapping[str, str]


Handler = Callable[[Request], Answer]
Routes = Callable[[tuple[str, ...]], Mapping[str, Handler]]
"""What answers each method of a path; empty where there is nothing."""


class Server:
    """Listens until it is closed. `address` is what the browser is to open, with the token.

    Raises InputError where the port is taken or may not be had, or where waitress is missing.
    """

    def __init__(self, routes: Routes, port: int) -> None:
        try:
            from waitress.server import create_server  # optional: the extra `serve`
        except ImportError:
            raise missing("a live page", "waitress", "serve") from None
        self.routes, self.token = routes, secrets.token_urlsafe(24)
        logging.getLogger("waitress.queue").setLevel(logging.ERROR)  # else it tells of each wait
        try:
            self.server = create_server(
                self.application,
                host=LOOPBACK,
                port=port,
                threads=4,
                ident=None,
                max_request_body_size=BODY,
                max_request_header_size=16 * BODY,
                connection_limit=CONNECTIONS,
                channel_timeout=IDLE,
                cleanup_interval=IDLE // 2,
                asyncore_use_poll=True,
                outbuf_overflow=WHOLE,
                outbuf_high_watermark=WHOLE,
                log_socket_errors=False,
            )
        except OSError as error:
            reason = error.strerror
            if error.errno == errno.EADDRINUSE:
                reason = "it is in use"
            raise InputError(
                f"cannot listen on port {port} of {LOOPBACK}: {reason}; choose another port, or 0 "
                "for any that is free"
            ) from None
        self.port = int(self.server.effective_port)
        self.prefix = f"/{self.token}/"
        self.address = f"http://{LOOPBACK}:{self.port}{self.prefix}"
        self.thread = threading.Thread(target=self.server.run, name="graphc live", daemon=True)
        self.thread.start()

    def close(self) -> None:
        """Answer no more. A second time does nothing."""
        if not self.thread.is_alive():
            return
        from waitress.wasyncore import close_all

        # In the server's own thread, which may be waiting for what would be closed under it.
        self.server.trigger.pull_trigger(lambda: close_all(self.server._map, ignore_all=True))
        self.thread.join()
        self.server.task_dispatcher.shutdown()

    def application(self, environ: Mapping[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """The server as WSGI has it."""
        answer = self.answered(environ)
        body = answer.body.encode()
        headers = [
            *ALWAYS,
            ("Content-Type", f"{answer.type}; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", f"{answer.policy}; frame-ancestors 'none'"),
            *answer.headers,
        ]
        start(f"{answer.status.value} {answer.status.phrase}", headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]

    def answered(self, environ: Mapping[str, Any]) -> Answer:
        """The answer to a request, once it has been seen that there may be one."""
        hosts = [f"{name}:{self.port}" for name in NAMES]
        if environ.get("HTTP_HOST", "").lower() not in hosts:
            return refusal(HTTPStatus.FORBIDDEN, f"the host is none of {', '.join(hosts)}")
        origin = environ.get("HTTP_ORIGIN")
        if origin is not None and origin.lower() not in [f"http://{host}" for host in hosts]:
            return refusal(HTTPStatus.FORBIDDEN, "the origin is another one")
        token, *parts = environ["PATH_INFO"].removeprefix("/").split("/")
        if not self.known(token):
            return refusal(HTTPStatus.FORBIDDEN, "the address needs the token that it began with")
        handlers = self.routes(tuple(parts))
        if not handlers:
            return refusal(HTTPStatus.NOT_FOUND, "there is no such page")
        method = environ["REQUEST_METHOD"]
        if method not in handlers:
            allowed = (("Allow", ", ".join(handlers)),)
            return refusal(HTTPStatus.METHOD_NOT_ALLOWED, "not by this method", allowed)
        header = environ.get("HTTP_" + HEADER.upper().replace("-", "_"), "")
        if method != "GET" and not self.known(header):
            return refusal(HTTPStatus.FORBIDDEN, f"the header {HEADER} needs the token")
        query = {name: found[-1] for name, found in parse_qs(environ["QUERY_STRING"]).items()}
        return handlers[method](Request(tuple(parts), query))

    def known(self, token: str) -> bool:
        """Whether this is the token; how long that takes tells nothing of it."""
        return hmac.compare_digest(token.encode(), self.token.encode())


def refusal(status: HTTPStatus, reason: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """An answer that says why there is no other."""
    return Answer(f"{reason}\n", status, headers=headers)
