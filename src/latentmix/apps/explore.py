"""The page that mixes, live: the networks stay in this process, behind a server on the loopback address.

Only this machine can connect. Every request needs the token that was drawn at the start, and a Host header of
this address, so that no other page in the same browser can reach the model (DNS rebinding included). A body
has exactly as many bytes as the network's input, and is refused unread otherwise.
"""

from __future__ import annotations

import hmac
import math
import secrets
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import numpy as np
import torch

from latentmix.apps.page.page import build
from latentmix.apps.traced import code_shape
from latentmix.data import Data
from latentmix.metrics import device_of
from latentmix.runs.opened import OpenRun

HOST = "127.0.0.1"
TIMEOUT = 10  # seconds that a connection may stay silent
CONNECTIONS = 32  # at a time


class Explorer(ThreadingHTTPServer):
    """Serves one run on 127.0.0.1 until it is shut down.

    Arguments:
        run: The trained run; its method stays on its device.
        data: What it was trained on.
        port: 0 takes a free one.

    Attributes:
        url: Where the page is, token included.

    Raises:
        OSError: The port is taken.
        ValueError: As `page.build`.
    """

    daemon_threads = True
    request_queue_size = 2 * CONNECTIONS

    def __init__(self, run: OpenRun, data: Data, port: int = 0) -> None:
        self.page = build(run, data, live=True).encode()
        self.token = secrets.token_urlsafe(24)
        self._method, self._turn = run.method, threading.Lock()
        self._free = threading.BoundedSemaphore(CONNECTIONS)
        self.inputs: dict[str, tuple[int, ...]] = {"encode": run.shape, "decode": code_shape(run.method)}
        super().__init__((HOST, port), _Handler)
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}
        self.url = f"http://{HOST}:{self.server_port}/?token={self.token}"

    @torch.inference_mode()
    def compute(self, role: str, content: bytes) -> bytes:
        """Encode one image or decode one code: little-endian float32 in and out.

        Raises:
            ValueError: Numbers that are not finite.
        """
        values = np.frombuffer(content, "<f4")
        if not np.isfinite(values).all():
            raise ValueError("numbers that are not finite")
        x = torch.from_numpy(values.astype(np.float32)).reshape(1, *self.inputs[role])
        with self._turn:  # one at a time: they share the processor anyway
            y = getattr(self._method, role)(x.to(device_of(self._method)))
        return y.float().cpu().contiguous().numpy().astype("<f4").tobytes()

    def process_request(self, request: object, client_address: object) -> None:
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)  # type: ignore[arg-type]
            return
        super().process_request(request, client_address)  # type: ignore[arg-type]

    def process_request_thread(self, request: object, client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), OSError):  # a browser that hangs up is no news
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(BaseHTTPRequestHandler):
    server: Explorer
    protocol_version = "HTTP/1.1"
    timeout = TIMEOUT
    disable_nagle_algorithm = True  # header and body are two writes; the second would wait 40 ms
    server_version, sys_version = "latentmix", ""

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        token = parse_qs(query).get("token", [""])[0]
        if self._refused(token):
            return
        if path != "/":
            self._answer(HTTPStatus.NOT_FOUND, b"there is only the page, /")
            return
        self._answer(HTTPStatus.OK, self.server.page, "text/html; charset=utf-8")

    def do_POST(self) -> None:
        if self._refused(self.headers.get("X-Token", "")):
            return
        role = self.path.removeprefix("/")
        if role not in self.server.inputs:
            self._answer(HTTPStatus.NOT_FOUND, b"one can only POST to /encode and /decode")
            return
        expected = 4 * math.prod(self.server.inputs[role])
        length = self.headers.get("Content-Length", "")
        if "Transfer-Encoding" in self.headers or not (length.isascii() and length.isdigit()):
            self._answer(HTTPStatus.LENGTH_REQUIRED, b"Content-Length is needed")
            return
        if int(length[:12]) != expected:
            text = f"{role} takes {expected} bytes, little-endian float32"
            self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text.encode())
            return
        content = self.rfile.read(expected)
        if len(content) < expected:
            self.close_connection = True
            return
        try:
            self._answer(HTTPStatus.OK, self.server.compute(role, content), "application/octet-stream")
        except ValueError as error:
            self._answer(HTTPStatus.BAD_REQUEST, str(error).encode())

    def _refused(self, token: str) -> bool:
        """Answer 403 to a foreign Host, a foreign Origin, or without the token."""
        hosts = self.headers.get_all("Host") or []
        origin = self.headers.get("Origin")
        known = len(hosts) == 1 and hosts[0].lower() in self.server.hosts
        known = known and origin in (None, *(f"http://{host}" for host in self.server.hosts))
        if known and hmac.compare_digest(token.encode(), self.server.token.encode()):
            return False
        self._answer(HTTPStatus.FORBIDDEN, b"open the address that `latentmix explore` printed")
        return True

    def _answer(self, status: HTTPStatus, content: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        if status != HTTPStatus.OK:
            self.close_connection = True  # what is left of the body is not read
        self.send_response(status)
        for name, value in (
            ("Content-Type", kind),
            ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("X-Frame-Options", "DENY"),
            ("Referrer-Policy", "no-referrer"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
            *((("Connection", "close"),) if self.close_connection else ()),
        ):
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # the terminal is for people
        pass


def explore(run: OpenRun, data: Data, port: int = 0, say: Callable[[str], None] = print) -> None:
    """Serve the live page until interrupted; `say` is told its address."""
    with Explorer(run, data, port) as server:
        say(server.url)
        # Programs that are started in the background ignore Ctrl-C unless they ask for it.
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.default_int_handler)
        with suppress(KeyboardInterrupt):
            server.serve_forever()
