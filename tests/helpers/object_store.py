"""A local object store with the part of S3 that reading requires: sizes, ranges and listings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

import pytest


@contextmanager
def object_store(folder: Path) -> Iterator[list[str]]:
    """Within the context, ``s3://<bucket>/<key>`` is the file ``folder/bucket/key``; yields the requested paths."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def _answer(self, *, with_body: bool) -> None:
            address = urlsplit(self.path)
            asked.append(address.path)
            if "list-type" in (query := parse_qs(address.query)):
                self._send(200, _listing(folder / address.path.strip("/"), query.get("prefix", [""])[0]))
                return
            path = folder / address.path.strip("/")
            if not path.is_file():
                self._send(404, b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>")
                return
            body, given = path.read_bytes(), re.match(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
            headers = {"ETag": '"1"', "Last-Modified": "Sat, 01 Nov 2025 00:00:00 GMT", "Accept-Ranges": "bytes"}
            if given is None:
                self._send(200, body, headers, with_body=with_body)
                return
            start = int(given[1]) if given[1] else max(0, len(body) - int(given[2]))
            stop = min(int(given[2]) + 1, len(body)) if given[1] and given[2] else len(body)
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(body)}"
            self._send(206, body[start:stop], headers)

        def _send(
            self, status: int, body: bytes, headers: dict[str, str] | None = None, *, with_body: bool = True
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Write no log to stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        address = f"http://127.0.0.1:{server.server_address[1]}"
        named = {"ENDPOINT_URL": address, "ALLOW_HTTP": "true", "REGION": "eu-west-1"}
        for name, value in {**named, "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret"}.items():
            patch.setenv(f"AWS_{name}", value)
        yield asked
    server.shutdown()
    server.server_close()
    thread.join()


def _listing(bucket: Path, prefix: str) -> bytes:
    found = {path.relative_to(bucket).as_posix(): path for path in sorted(bucket.rglob("*")) if path.is_file()}
    contents = "".join(
        f"<Contents><Key>{escape(key)}</Key><LastModified>2025-11-01T00:00:00.000Z</LastModified><ETag>1</ETag>"
        f"<Size>{path.stat().st_size}</Size></Contents>"
        for key, path in found.items()
        if key.startswith(prefix)
    )
    body = f'<?xml version="1.0"?><ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>'
    return body.encode()
