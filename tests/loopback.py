"""Server on the loopback interface with correct and faulty responses to downloads."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager

CONTENT = b"\x80\x02" + bytes(range(256)) * 10_000  # 2.5 MB: several chunks
PAGE = b"\n<!DOCTYPE html><html><body>This link has been disabled.</body></html>"


class Server:
    """Server whose response depends on the path; `requests` lists the requested paths."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        self.requests: list[str] = []
        self.half_sent = threading.Event()
        self.released = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests.append(self.path)
                getattr(outer, "respond_" + self.path.split("?")[0].strip("/"))(self)

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

    def respond_good(self, request):
        self.send(request, self.content)

    def respond_page(self, request):
        self.send(request, PAGE)

    def respond_wrong(self, request):
        self.send(request, self.content[:-1] + b"?")

    def respond_long(self, request):
        self.send(request, self.content + b"more")

    def respond_short(self, request):
        self.send(request, self.content[:-1000])

    def respond_truncated(self, request):
        self.send(request, self.content[:1_500_000], length=len(self.content))

    def respond_cut(self, request):
        self.send(request, self.content[:1_500_000], length=len(self.content))
        request.connection.close()

    def respond_empty(self, request):
        self.send(request, b"")

    def respond_missing(self, request):
        self.send(request, b"", status=404)

    def respond_moved(self, request):
        self.send(request, b"", status=302, Location="/good")

    def respond_resumed(self, request):
        """Half of the file, and the rest to whom asks for it."""
        begin = request.headers.get("Range", "").removeprefix("bytes=").removesuffix("-")
        if not begin:
            self.respond_cut(request)
            return
        rest = self.content[int(begin) :]
        size = len(self.content)
        part = {"Content-Range": f"bytes {begin}-{size - 1}/{size}"}
        self.send(request, rest, status=206, **part)

    def respond_crumbs(self, request):
        """A thousand bytes from where the request asks for them, then the connection is cut."""
        begin = int(request.headers.get("Range", "bytes=0-").removeprefix("bytes=")[:-1])
        size = len(self.content)
        part = {"Content-Range": f"bytes {begin}-{size - 1}/{size}"}
        rest = self.content[begin : begin + 1000]
        self.send(request, rest, status=206, length=size - begin, **part)
        request.connection.close()

    def respond_stuck(self, request):
        self.send(request, self.content[:1_500_000], length=len(self.content))
        self.half_sent.set()
        self.released.wait(60)


@contextmanager
def serving() -> Iterator[Server]:
    """Context manager: run a server."""
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
