"""A web server on the loopback that behaves as badly as the ones that weights are fetched from."""

import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Answer:
    """How one request is answered; `Answer(content)` is an honest server with ranges."""

    content: bytes = b""
    etag: str | None = '"one"'
    modified: str | None = None
    break_after: int | None = None  # close the connection after so many bytes of the body
    length: int = 0  # added to Content-Length: a lie
    ranges: bool = True  # False: answer 200 with everything, whatever was asked for
    shift: int = 0  # added to the numbers in Content-Range, the bytes stay those that were asked for
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/octet-stream"
    pause_s: float = 0.0  # after each piece of 1000 bytes
    careless: bool = False  # sends a range whatever If-Range says


class Hostile:
    """`serve(path, *answers)`: the answers in turn, the last of them for ever. `asked`: what came."""

    def __init__(self) -> None:
        self.answers: dict[str, list[Answer]] = {}
        self.asked: list[tuple[str, str | None, str | None]] = []  # path, Range, If-Range
        self.headers: list[dict[str, str]] = []
        hostile = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                hostile._answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def serve(self, path: str, *answers: Answer) -> str:
        self.answers[path] = list(answers)
        return f"{self.url}/{path}"

    def ranges(self, path: str) -> list[str | None]:
        """The Range of every request for a path."""
        return [wanted for asked, wanted, _ in self.asked if asked == path]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        path = request.path.lstrip("/")
        wanted, condition = request.headers.get("Range"), request.headers.get("If-Range")
        self.asked.append((path, wanted, condition))
        self.headers.append(dict(request.headers.items()))
        queue = self.answers.get(path) or [Answer(b"<html>Not found</html>", status=404, kind="text/html")]
        answer = queue.pop(0) if len(queue) > 1 else queue[0]
        request.close_connection = True
        _send(request, answer, *_part(answer, wanted, condition))


def _part(answer: Answer, wanted: str | None, condition: str | None) -> tuple[int, int, int]:
    """(status, first byte, byte after the last) of what is sent."""
    size = len(answer.content)
    fresh = answer.careless or condition is None or condition in (answer.etag, answer.modified)
    if answer.status != 200 or not (wanted and answer.ranges and fresh):
        return answer.status, 0, size
    start, _, last = wanted.removeprefix("bytes=").partition("-")
    return (206 if int(start) < size else 416), int(start), min(size, int(last) + 1) if last else size


def _send(request: BaseHTTPRequestHandler, answer: Answer, status: int, start: int, end: int) -> None:
    body = b"" if status == 416 else answer.content[start:end]
    request.send_response(status)
    total = len(answer.content)
    headers = {"Content-Type": answer.kind, "Accept-Ranges": "bytes" if answer.ranges else None,
               "Content-Length": str(len(body) + answer.length),
               "ETag": answer.etag, "Last-Modified": answer.modified,
               "Content-Range": {206: f"bytes {start + answer.shift}-{end - 1 + answer.shift}/{total}",
                                 416: f"bytes */{total}"}.get(status)}
    for name, value in {**headers, **answer.headers}.items():
        if value is not None:
            request.send_header(name, value)
    request.end_headers()
    body = body if answer.break_after is None else body[:answer.break_after]
    try:
        for at in range(0, len(body), 1000 if answer.pause_s else max(1, len(body))):
            request.wfile.write(body[at:at + 1000] if answer.pause_s else body)
            time.sleep(answer.pause_s)
    except OSError:
        pass  # the other side has had enough
