"""The live page: computes what the run computes, answers its own page alone, survives hostile uploads."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import torch

from latentmix.apps.explore import HOST, Explorer


@pytest.fixture(scope="module")
def server(digits_run, digits) -> Iterator[Explorer]:
    with Explorer(digits_run, digits) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def ask(
    server: Explorer, method: str, path: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=20)
    try:
        connection.request(method, path, body, {name.replace("_", "-"): v for name, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def test_the_page_is_live_and_carries_no_weights(server, digits_run) -> None:
    address = urlsplit(server.url)
    assert address.hostname == "127.0.0.1"
    status, page = ask(server, "GET", f"{address.path}?{address.query}")
    assert status == 200
    assert b"connect-src &#39;self&#39;" in page or b"connect-src 'self'" in page
    assert b'"live": true' in page
    assert b'"constants": {}' in page
    assert parse_qs(address.query)["token"] == [server.token]


@pytest.mark.parametrize("role", ["encode", "decode"])
def test_it_computes_what_the_run_computes(server, digits_run, role) -> None:
    x = torch.randn(1, *server.inputs[role], generator=torch.Generator().manual_seed(3))
    status, content = ask(server, "POST", f"/{role}", x.numpy().tobytes(), X_Token=server.token)
    assert status == 200
    with torch.no_grad():
        expected = getattr(digits_run.method, role)(x).numpy().ravel()
    assert np.allclose(np.frombuffer(content, "<f4"), expected, atol=1e-6)


def code(server: Explorer) -> bytes:
    return np.zeros(server.inputs["decode"], "<f4").tobytes()


@pytest.mark.parametrize("token", ["", "wrong", "é", "x" * 10_000])
def test_without_the_token_nothing_is_answered(server, token) -> None:
    assert ask(server, "POST", "/decode", code(server), X_Token=token.encode().decode("latin-1"))[0] == 403
    assert ask(server, "GET", "/")[0] == 403
    assert ask(server, "GET", "/?token=wrong")[0] == 403


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1", "127.0.0.1:1", "0.0.0.0:80"]
)
def test_a_foreign_host_is_refused(server, host) -> None:
    assert ask(server, "GET", f"/?token={server.token}", Host=host)[0] == 403
    assert ask(server, "POST", "/decode", code(server), X_Token=server.token, Host=host)[0] == 403


def test_a_foreign_origin_is_refused_and_its_own_is_not(server) -> None:
    own = f"http://127.0.0.1:{server.server_port}"
    for origin, expected in ((own, 200), ("http://evil.example", 403), ("null", 403)):
        status, _ = ask(server, "POST", "/decode", code(server), X_Token=server.token, Origin=origin)
        assert status == expected


def test_other_addresses_are_not_found(server) -> None:
    for path in ("/etc/passwd", "/../../etc/passwd", "/decode"):
        assert ask(server, "GET", f"{path}?token={server.token}")[0] == 404
    assert ask(server, "POST", "/train", b"", X_Token=server.token)[0] == 404


def raw(server: Explorer, content: bytes, wait: float = 2.0) -> bytes:
    """Send bytes as they are, and take what comes back until the connection is quiet."""
    with socket.create_connection((HOST, server.server_port), timeout=wait) as connection:
        answer = b""
        try:
            connection.sendall(content)
            connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                answer += part
        except OSError:
            pass
        return answer


@pytest.mark.parametrize("address", ["http://[::1", "http://[", "http://evil.example/", "//[x", "*"])
def test_addresses_that_are_none_are_not_found(server, address, capfd) -> None:
    host = f"127.0.0.1:{server.server_port}"
    answer = raw(server, f"GET {address}?token={server.token} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert "Traceback" not in capfd.readouterr().err


def hostile(server: Explorer) -> list[bytes]:
    lines = ("POST /decode HTTP/1.1", f"Host: 127.0.0.1:{server.server_port}", f"X-Token: {server.token}")
    head = "".join(f"{line}\r\n" for line in lines).encode()
    size = len(code(server))
    draw = random.Random(0)
    return [
        b"",
        b"\x00" * 5000,
        draw.randbytes(20_000),
        b"GET " + b"/" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /decode HTTP/9.9\r\n\r\n",
        b"PUT / HTTP/1.1\r\n\r\n",
        head + b"\r\n" + code(server),
        head + b"Content-Length: -1\r\n\r\n",
        head + b"Content-Length: 99999999999999999999999\r\n\r\n",
        head + b"Content-Length: 1e3\r\n\r\n",
        head + "Content-Length: ١٢٨\r\n\r\n".encode(),
        head + b"Content-Length: 0\r\n\r\n",
        head + b"Content-Length: %d\r\n\r\n" % (size - 4) + code(server),
        head + b"Content-Length: %d\r\n\r\n" % size + b"short",
        head + b"Content-Length: 1073741824\r\n\r\n" + b"\xff" * 200_000,
        head + b"Transfer-Encoding: chunked\r\n\r\n80\r\n" + code(server),
        head + b"Content-Length: %d\r\n\r\n" % size + np.full(size // 4, np.nan, "<f4").tobytes(),
        head + b"Content-Length: %d\r\n\r\n" % size + np.full(size // 4, np.inf, "<f4").tobytes(),
        head + b"Content-Length: %d\r\n\r\n" % size + b"\xff" * size,
        head + b"X: y\r\n" * 5000 + b"\r\n",
        head.replace(b"/decode", b"/%2e%2e/decode") + b"Content-Length: 4\r\n\r\nabcd",
    ]


def test_hostile_uploads_do_no_harm(server, capfd) -> None:
    attacks = hostile(server)
    assert len(attacks) >= 20
    for attack in attacks:
        answer = raw(server, attack)
        assert not answer.startswith(b"HTTP/1.1 200"), attack[:80]
    status, _ = ask(server, "POST", "/decode", code(server), X_Token=server.token)
    assert status == 200
    assert "Traceback" not in capfd.readouterr().err


def test_silent_connections_do_not_keep_others_out_for_ever(server) -> None:
    silent = [socket.create_connection((HOST, server.server_port)) for _ in range(20)]
    try:
        assert ask(server, "POST", "/decode", code(server), X_Token=server.token)[0] == 200
    finally:
        for each in silent:
            each.close()


def test_large_numbers_are_decoded_without_a_crash(server) -> None:
    large = np.full(server.inputs["decode"], 3e38, "<f4").tobytes()
    assert ask(server, "POST", "/decode", large, X_Token=server.token)[0] == 200


def test_a_mix_takes_milliseconds(server) -> None:
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=20)
    taken = []
    for _ in range(40):
        start = time.perf_counter()
        connection.request("POST", "/decode", code(server), {"X-Token": server.token})
        assert connection.getresponse().read()
        taken.append(time.perf_counter() - start)
    connection.close()
    assert sorted(taken)[4] < 0.03  # a delayed acknowledgement alone would take 0.04
