"""A server on loopback gives the good and the bad answers that servers of models give."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CONTENT = b"\x80\x02" + bytes(range(256)) * 10_000  # 2.5 MB: several pieces
PAGE = b"\n<!DOCTYPE html><html><body>This link has been disabled.</body></html>"


class Server:
    """Answers by path; remembers what was asked."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        self.asked: list[str] = []
        self.half_sent = threading.Event()
        self.released = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.asked.append(self.path)
                getattr(outer, "answer_" + self.path.split("?")[0].strip("/"))(self)

            def log_message(self, *_):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"

    def send(self, request, body, *, status=200, length=None, **headers):
        request.send_response(status)
        request.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def answer_good(self, request):
        self.send(request, self.content)

    def answer_page(self, request):
        self.send(request, PAGE)

    def answer_wrong(self, request):
        self.send(request, self.content[:-1] + b"?")

    def answer_long(self, request):
        self.send(request, self.content + b"more")

    def answer_short(self, request):
        self.send(request, self.content[:-1000])

    def answer_truncated(self, request):
        self.send(request, self.content[:1_500_000], length=len(self.content))

    def answer_cut(self, request):
        self.send(request, self.content[:1_500_000], length=len(self.content))
        request.connection.close()

    def answer_empty(self, request):
        self.send(request, b"")

    def answer_missing(self, request):
        self.send(request, b"", status=404)

    def answer_moved(self, request):
        self.send(request, b"", status=302, Location="/good")

    def answer_stuck(self, request):
        self.send(request, self.content[:1_500_000], length=len(self.content))
        self.half_sent.set()
        self.released.wait(60)


@contextmanager
def serving() -> Iterator[Server]:
    """A server that is up inside of the block."""
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.released.set()
        server.http.shutdown()
        server.http.server_close()
        thread.join()
