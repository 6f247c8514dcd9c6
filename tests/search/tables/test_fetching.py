"""Fetching, against a server of our own: resumed, tested, converted, and never a web page."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from holdfast.core.errors import BadValueError, MissingError, UnknownNameError
from holdfast.search.spaces import space_of
from holdfast.search.tables import READERS, fetch, open_table

NAME = "nasbench-macro"
FILE = READERS[NAME].file
SCORES = {
    arch: {"test_acc": [90.0, 91.0], "params": 5, "flops": 7}
    for arch in list(space_of("macro").everything())[:200]
}
CONTENT = json.dumps(SCORES).encode()
OTHER = json.dumps(dict(list(SCORES.items())[100:])).encode()  # a later version


class Server:
    """Serves `content`; `cuts` transfers break off halfway first."""

    def __init__(self, content=CONTENT, *, cuts=0, ranges=True, status=200):
        self.content, self.cuts, self.ranges, self.status = content, cuts, ranges, status
        self.asked = []
        self.headers = {}
        self.conditional = True
        self.conditions = []

    def resumes(self, asked, condition):
        """Whether the rest is sent alone."""
        self.conditions.append(condition)
        same = condition is None or condition in self.headers.values() or not self.conditional
        return bool(asked) and self.ranges and same


@pytest.fixture
def serve(monkeypatch):
    started = []

    def start(server):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get("Range")
                server.asked.append(asked)
                resumes = server.resumes(asked, self.headers.get("If-Range"))
                start = int(asked[6:-1]) if resumes else 0
                if start >= len(server.content) or server.status != 200:
                    self.send_error(416 if start else server.status)
                    return
                data = server.content[start:]
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(data)))
                for name, value in server.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                if server.cuts:
                    server.cuts -= 1
                    data = data[: len(data) // 2]
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        started.append((http, thread))
        reader = READERS[NAME]
        address = f"http://127.0.0.1:{http.server_port}/{FILE}"
        changed = replace(reader, card=replace(reader.card, address=address))
        monkeypatch.setitem(READERS._parts, NAME, changed)
        return server

    yield start
    for http, thread in started:
        http.shutdown()
        thread.join()
        http.server_close()


def test_a_fetched_table_opens_by_its_name_and_is_fetched_once(serve, tmp_path):
    server = serve(Server())
    first = fetch(NAME, root=tmp_path)
    again = fetch(NAME, root=tmp_path)
    assert first.path.read_bytes() == CONTENT
    assert first.sha256 == hashlib.sha256(CONTENT).hexdigest()
    assert (first.checked, again.checked) == (False, True)
    assert server.asked == [None]
    assert len(open_table(NAME, root=tmp_path).frame) == 200 * 4
    assert first.sha256 in (first.path.parent / f"{FILE}.sha256").read_text()


@pytest.mark.parametrize("ranges", [True, False])
def test_a_transfer_that_breaks_off_goes_on_where_it_stopped(serve, tmp_path, ranges):
    server = serve(Server(cuts=1, ranges=ranges))
    assert fetch(NAME, root=tmp_path).path.read_bytes() == CONTENT
    assert server.asked == [None, f"bytes={len(CONTENT) // 2}-"]


def test_a_part_of_an_earlier_call_is_kept_and_used(serve, tmp_path):
    server = serve(Server(cuts=10))
    with pytest.raises(MissingError, match="try again"):
        fetch(NAME, root=tmp_path)
    server.cuts = 0
    server.asked.clear()
    assert fetch(NAME, root=tmp_path).path.read_bytes() == CONTENT
    assert server.asked != [None]
    assert len(server.asked) == 1


def test_a_part_that_is_longer_than_the_file_is_thrown_away(serve, tmp_path):
    serve(Server())
    part = tmp_path / NAME / f"{FILE}.part"
    part.parent.mkdir()
    part.write_bytes(CONTENT + b"more")
    assert fetch(NAME, root=tmp_path).path.read_bytes() == CONTENT


def test_a_web_page_is_refused_and_not_kept(serve, tmp_path):
    serve(Server(b"<!DOCTYPE html><html>Google Drive can't scan this file</html>"))
    with pytest.raises(BadValueError, match="is a web page, not data"):
        fetch(NAME, root=tmp_path)
    assert list((tmp_path / NAME).iterdir()) == []


def test_a_file_that_changed_since_the_first_fetch_is_refused(serve, tmp_path):
    serve(Server())
    path = fetch(NAME, root=tmp_path).path
    path.write_bytes(CONTENT[:-1] + b" ")
    with pytest.raises(BadValueError, match=r"expected [0-9a-f]{64}"):
        fetch(NAME, root=tmp_path)


def test_a_file_that_was_deleted_is_fetched_anew_and_another_version_noted(serve, tmp_path):
    server = serve(Server())
    first = fetch(NAME, root=tmp_path)
    server.content = OTHER
    first.path.unlink()
    found = fetch(NAME, root=tmp_path)
    again = fetch(NAME, root=tmp_path)

    assert found.path.read_bytes() == OTHER
    assert (first.note, again.note) == ("", "")
    assert first.sha256 in found.note and found.sha256 in found.note
    assert (found.checked, again.checked) == (False, True)


def test_what_was_transferred_is_what_opens(serve, tmp_path):
    server = serve(Server())
    fetch(NAME, root=tmp_path).path.unlink()
    server.content = OTHER
    fetch(NAME, root=tmp_path)

    assert len(open_table(NAME, root=tmp_path).frame) == 100 * 4


def test_a_refused_file_is_told_with_the_checksum_file_and_what_to_do(serve, tmp_path):
    serve(Server())
    path = fetch(NAME, root=tmp_path).path
    path.write_bytes(OTHER)
    with pytest.raises(BadValueError, match=rf"delete it and fetch again .*{FILE}\.sha256"):
        fetch(NAME, root=tmp_path)
    path.unlink()
    assert fetch(NAME, root=tmp_path).path.read_bytes() == CONTENT


VERSIONS = [{"ETag": '"one"'}, {"Last-Modified": "Mon, 02 Feb 2026 02:02:02 GMT"}]
WEAK = {"ETag": 'W/"one"', **VERSIONS[1]}


@pytest.mark.parametrize("headers", [*VERSIONS, WEAK], ids=["tag", "date", "weak"])
def test_the_rest_is_asked_for_as_long_as_the_file_is_the_same(serve, tmp_path, headers):
    server = serve(Server(cuts=1))
    server.headers = headers

    assert fetch(NAME, root=tmp_path).path.read_bytes() == CONTENT
    assert server.conditions == [None, list(headers.values())[-1]]
    assert {FILE, f"{FILE}.sha256", f"{NAME}.parquet"} == {
        path.name for path in (tmp_path / NAME).iterdir()
    }


@pytest.mark.parametrize("conditional", [True, False], ids=["condition kept", "condition ignored"])
@pytest.mark.parametrize("headers", VERSIONS, ids=["tag", "date"])
def test_no_two_versions_are_joined(serve, tmp_path, headers, conditional):
    server = serve(Server(cuts=10))
    server.headers = headers
    with pytest.raises(MissingError):
        fetch(NAME, root=tmp_path)
    server.cuts, server.content, server.conditional = 0, OTHER + b" " * len(CONTENT), conditional
    server.headers = dict.fromkeys(headers, "another")

    assert fetch(NAME, root=tmp_path).path.read_bytes() == server.content


def test_a_published_checksum_decides(serve, tmp_path, monkeypatch):
    serve(Server())
    monkeypatch.setitem(READERS._parts, NAME, replace(READERS[NAME], sha256="0" * 64))
    with pytest.raises(BadValueError, match=f"expected {'0' * 64}"):
        fetch(NAME, root=tmp_path)


@pytest.mark.parametrize("status", [403, 404])
def test_a_server_that_says_no_is_asked_once(serve, tmp_path, status):
    server = serve(Server(status=status))
    with pytest.raises(MissingError, match=str(status)):
        fetch(NAME, root=tmp_path)
    assert len(server.asked) == 1


def test_tables_without_an_address_have_a_manual_step(tmp_path):
    for name in READERS:
        if not READERS[name].card.address:
            with pytest.raises(MissingError, match="no public address"):
                fetch(name, root=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_every_address_is_encrypted_and_has_a_file_name():
    fetched = [READERS[name] for name in READERS if READERS[name].card.address]
    assert fetched
    assert all(r.card.address.startswith("https://") and r.file for r in fetched)


def test_what_ships_with_the_package_or_is_unknown_is_not_fetched(tmp_path):
    with pytest.raises(BadValueError, match="ships with the package"):
        fetch("digits", root=tmp_path)
    with pytest.raises(UnknownNameError):
        fetch("nothing", root=tmp_path)
