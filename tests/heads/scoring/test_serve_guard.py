"""The page answers its own pages alone, looks up no address, and keeps nothing of a broken-off upload."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mmmos.heads.scoring import serve
from mmmos.heads.scoring.loading import load_bundle
from mmmos.heads.scoring.serve_guard import Guard, address_in, refusal
from tests.heads.scoring.experiment import scoring_experiment

HOST = "127.0.0.1:7860"


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:9000", "[::1]:7860", "LOCALHOST"])
def test_this_machine_by_any_of_its_names_is_let_in(host: str) -> None:
    assert refusal({"host": host, "origin": f"http://{host}"}, "/") == ""


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example:7860"},
        {"host": "127.0.0.1.evil.example"},
        {"host": "192.168.0.7:7860"},
        {"host": "[::1"},
        {"host": ""},
        {},
        {"host": HOST, "origin": "http://evil.example"},
        {"host": HOST, "origin": "null"},
        {"host": HOST, "origin": "http://127.0.0.1:1234"},
        {"host": HOST, "sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"},
    ],
)
def test_others_are_refused(headers: dict[str, str]) -> None:
    assert refusal(headers, "/gradio_api/upload")


def test_a_link_to_the_page_may_be_followed() -> None:
    followed = {"host": HOST, "sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert refusal(followed, "/") == ""
    assert refusal(followed, "/gradio_api/file=/etc/passwd")


def test_a_named_address_is_a_name_and_all_addresses_are_numbers_alone() -> None:
    assert refusal({"host": "192.168.0.7:7860"}, "/", "192.168.0.7") == ""
    assert refusal({"host": "192.168.0.7:7860"}, "/", "0.0.0.0") == ""
    assert refusal({"host": "evil.example:7860"}, "/", "0.0.0.0")


@pytest.mark.parametrize(
    "given",
    [
        "http://evil.example/a.wav",
        " HTTPS://evil.example",
        {"data": [{"path": "http://169.254.169.254/latest"}]},
        {"data": [{"path": "x", "url": "ftp://evil.example/"}]},
        ["file:///etc/passwd"],
    ],
)
def test_addresses_are_not_looked_up(given: Any) -> None:
    assert "address" in address_in(given, HOST)
    assert refusal({"host": HOST}, "/gradio_api/file=https://evil.example/a.wav?")


def test_the_pages_own_files_are_no_foreign_addresses() -> None:
    own = {"data": [{"path": "/tmp/x/a.wav", "url": f"http://{HOST}/gradio_api/file=/tmp/x/a.wav"}]}
    assert address_in(own, HOST) == ""


def test_what_a_broken_off_upload_leaves_is_removed(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "a.wav").write_bytes(b"a")

    async def page(scope: Any, receive: Any, send: Any) -> None:
        (tmp_path / "tmp1").write_bytes(b"half")
        raise ConnectionError

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/gradio_api/upload",
        "headers": [(b"host", b"localhost")],
    }
    with pytest.raises(ConnectionError):
        asyncio.run(Guard(page, tmp_path)(scope, None, None))  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_a_folder_of_uploads_that_has_gone_ends_no_request(tmp_path: Path) -> None:
    folder = tmp_path / "uploads"
    folder.mkdir()
    answered: list[Any] = []

    async def page(scope: Any, receive: Any, send: Any) -> None:
        folder.rmdir()  # as what tidies up /tmp does
        answered.append(scope)

    headers = [(b"host", b"localhost")]
    scope = {"type": "http", "method": "POST", "path": "/gradio_api/upload", "headers": headers}
    asyncio.run(Guard(page, folder)(scope, None, None))  # type: ignore[arg-type]
    assert answered


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    pytest.importorskip("gradio", reason="needs gradio, the extra `serve`")
    scorer = load_bundle(scoring_experiment().bundle, device="cpu")
    with serve.serving(scorer) as address:
        yield urlsplit(address).netloc


def ask(
    address: str, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str]]:
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}


def test_the_real_page_refuses_with_403_and_without_cors(address: str) -> None:
    assert ask(address, "GET", "/")[0] == 200
    evil = "evil.example:7860"
    for method, path in (("GET", "/"), ("GET", "/config"), ("POST", "/gradio_api/upload"), ("OPTIONS", "/")):
        for headers in (
            {"Host": evil},
            {"Host": evil, "Origin": f"http://{evil}"},
            {"Origin": "http://evil"},
        ):
            if method == "OPTIONS":
                headers |= {"Access_Control_Request_Method": "POST"}
            status, given = ask(address, method, path, **headers)
            assert status == 403, (method, path, headers)
            assert "access-control-allow-origin" not in given
    body = json.dumps({"data": [{"path": "http://evil.example/a.wav"}], "fn_index": 0, "session_hash": "x"})
    for path in ("/gradio_api/queue/join", "/gradio_api/run/predict", "/gradio_api/call/show"):
        assert ask(address, "POST", path, body.encode(), Content_Type="application/json")[0] == 403


def test_the_real_page_keeps_nothing_of_an_upload_that_breaks_off(address: str) -> None:
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    host, port = address.split(":")
    with socket.create_connection((host, int(port))) as line:
        line.sendall(
            f"POST /gradio_api/upload HTTP/1.1\r\nHost: {address}\r\nContent-Length: 9000000\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
            '--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n'.encode()
            + b"0" * 100_000
        )
        until = time.monotonic() + 20
        while not any(path.is_file() for path in folder.iterdir()) and time.monotonic() < until:
            time.sleep(0.05)
        assert any(path.is_file() for path in folder.iterdir()), "it is being written"
    while any(path.is_file() for path in folder.iterdir()) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(path.is_file() for path in folder.iterdir())
