"""A guestbook: entries live in redis, any number of these front ends serve them.

GET / is a page, GET /entries the same as JSON, POST /entries adds a line, GET /healthz tells whether redis answers.
"""

import html
import json
import os
import signal
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import redis

VERSION = os.environ.get("VERSION", "v1")
STORE = redis.Redis(
    os.environ.get("REDIS_HOST", "redis"),
    int(os.environ.get("REDIS_PORT_NUMBER", "6379")),
    socket_timeout=2,
    socket_connect_timeout=2,
    decode_responses=True,
)
PAGE = """<!doctype html><title>Guestbook</title>
<style>body {{ font-family: sans-serif; max-width: 40em; margin: 2em auto; background: {color} }}</style>
<h1>Guestbook <small>{version}</small></h1>
<form method=post action=/entries><input name=text autofocus> <button>Sign</button></form>
<ul>{items}</ul><p><small>served by {host}</small></p>
"""
MAX_ENTRY = 4096


class Guestbook(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        try:
            if self.path == "/healthz":
                STORE.ping()
                self.answer(200, "text/plain", "ok\n")
            elif self.path == "/entries":
                entries = STORE.lrange("entries", 0, -1)
                body = {"version": VERSION, "served_by": socket.gethostname(), "entries": entries}
                self.answer(200, "application/json", json.dumps(body) + "\n")
            elif self.path == "/":
                items = "".join(f"<li>{html.escape(entry)}" for entry in STORE.lrange("entries", 0, -1))
                color = "#fff" if VERSION == "v1" else "#eef6ff"
                page = PAGE.format(version=VERSION, items=items, host=socket.gethostname(), color=color)
                self.answer(200, "text/html; charset=utf-8", page)
            else:
                self.answer(404, "text/plain", "not found\n")
        except redis.RedisError as error:
            self.answer(503, "text/plain", f"redis does not answer: {error}\n")

    def do_POST(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        if self.path != "/entries" or not 0 < size <= MAX_ENTRY:
            self.close_connection = True
            self.answer(404 if self.path != "/entries" else 413, "text/plain", "cannot take this entry\n")
            return
        text = self.rfile.read(size).decode(errors="replace")
        from_form = self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
        if from_form and text.startswith("text="):
            from urllib.parse import parse_qs

            text = parse_qs(text).get("text", [""])[0]
        try:
            STORE.rpush("entries", text)
        except redis.RedisError as error:
            self.answer(503, "text/plain", f"redis does not answer: {error}\n")
            return
        if from_form:
            self.send_response(303)
            self.send_header("Location", "/")
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            self.answer(201, "application/json", json.dumps({"added": text, "by": socket.gethostname()}) + "\n")

    def answer(self, code: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"guestbook {VERSION} listens on :8080", flush=True)
    ThreadingHTTPServer(("", 8080), Guestbook).serve_forever()
