"""Fetching pinned files from a small server of our own: checked, and honest offline."""

from __future__ import annotations

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mmmos.extract.corpora.downloads import LABELS, DownloadError, fetch_labels, missing_labels
from tests.conftest import shared

CONTENT = {"one/a.jsonl": b"a" * 200_000, "two/b.csv": b"hello"}
WANTED = {name: hashlib.sha256(data).hexdigest() for name, data in CONTENT.items()}


class Handler(BaseHTTPRequestHandler):
    """Serves CONTENT; the first `breaks` answers stop half way."""

    breaks = 0

    def do_GET(self):
        data = CONTENT.get(self.path.strip("/"))
        if data is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if type(self).breaks > 0:
            type(self).breaks -= 1
            data = data[: len(data) // 2]
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def base():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Handler.breaks = 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


def test_files_are_fetched_once(tmp_path, base):
    got = fetch_labels(tmp_path, WANTED, [base])
    assert got.fetched == ("a.jsonl", "b.csv")
    assert (tmp_path / "a.jsonl").read_bytes() == CONTENT["one/a.jsonl"]
    again = fetch_labels(tmp_path, WANTED, ["http://127.0.0.1:9/"])
    assert (again.present, again.fetched) == (("a.jsonl", "b.csv"), ())


def test_after_a_broken_download_only_that_file_is_fetched_again(tmp_path, base):
    Handler.breaks = 1
    with pytest.raises(
        DownloadError, match=r"1 of 2 label files(?s:.*)broke off after 100000 of 200000 bytes"
    ):
        fetch_labels(tmp_path, WANTED, [base, base + "nowhere/"])
    assert [path.name for path in tmp_path.iterdir()] == ["b.csv"]
    assert fetch_labels(tmp_path, WANTED, [base]).fetched == ("a.jsonl",)
    assert (tmp_path / "a.jsonl").read_bytes() == CONTENT["one/a.jsonl"]


def test_the_next_address_is_tried_and_wrong_content_never_kept(tmp_path, base):
    assert fetch_labels(tmp_path, WANTED, [base + "nowhere/", base]).fetched == ("a.jsonl", "b.csv")
    other = {"two/b.csv": "0" * 64}
    with pytest.raises(DownloadError, match="is something else"):
        fetch_labels(tmp_path / "other", other, [base])
    assert not (tmp_path / "other" / "b.csv").exists()


def test_offline_it_says_what_to_put_where(tmp_path):
    with pytest.raises(DownloadError) as told:
        fetch_labels(tmp_path, WANTED, ["http://127.0.0.1:9/"])
    assert f"one/a.jsonl -> {tmp_path / 'a.jsonl'}, sha256" in str(told.value)
    assert WANTED["one/a.jsonl"] in str(told.value)


def test_a_changed_file_is_noticed(tmp_path):
    (tmp_path / "b.csv").write_bytes(b"hellO")
    problems = missing_labels(tmp_path, WANTED)
    assert problems["one/a.jsonl"] == "missing"
    assert problems["two/b.csv"].startswith("its sha256 is")


def test_the_real_label_files_have_the_pinned_content():
    assert missing_labels(shared("data/aes"), LABELS) == {}
