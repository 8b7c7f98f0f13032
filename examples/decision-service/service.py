"""A small decision service for the policy `http`: who may log in, and who may publish where, out of one JSON file.

    python service.py --port 8443 --certificate service.pem --key service.key --clients broker-ca.pem rules.json

It speaks HTTPS alone, answers only who shows a certificate of the CA in --clients, and needs nothing but Python.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import hmac
import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

LARGEST_QUESTION = 1024 * 1024


def decide(rules: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
    """The answer to one question; whatever is not foreseen is a no."""
    if question.get("version") != 1:
        return {"decision": "deny", "reason": "this service speaks version 1"}
    if question.get("stage") == "AUTHENTICATE":
        return log_in(rules, question)
    if question.get("stage") == "PUBLISH":
        topics = rules["publish"].get(question.get("principal", ""), [])
        if question["topic"] in topics:
            return {"decision": "permit"}
        return {"decision": "abstain"}
    return {"decision": "deny", "reason": "this service was not made for that stage"}


def log_in(rules: dict[str, Any], question: dict[str, Any]) -> dict[str, Any]:
    """Permit who knows the password; the broker sends it where `send_password = true`."""
    user = rules["users"].get(question.get("username", ""), {})
    password = base64.b64decode(question.get("password", ""))
    salt = bytes.fromhex(user.get("salt", "00"))
    tried = hashlib.pbkdf2_hmac("sha256", password, salt, 100_000).hex()
    if not hmac.compare_digest(tried, user.get("hash", "")):
        return {"decision": "deny", "reason": "wrong user name or password"}
    return {
        "decision": "permit",
        "principal": question["username"],
        "groups": user.get("groups", []),
        "session_seconds": 3600,
        "cache_seconds": 5,
    }


class Answering(BaseHTTPRequestHandler):
    """Reads one question, writes one answer, and keeps the connection for the next."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    rules: dict[str, Any]

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        if not 0 < length <= LARGEST_QUESTION:
            self.send_error(413)
            return
        try:
            answer = decide(self.rules, json.loads(self.rfile.read(length)))
        except (ValueError, KeyError, TypeError, AttributeError):
            answer = {"decision": "deny", "reason": "the question could not be read"}
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """A line for each question; what was in it may be secret."""
        print(f"{self.client_address[0]}: {format % arguments}", file=sys.stderr)


class Server(ThreadingHTTPServer):
    """Does the TLS handshake in the thread of the connection, so that a slow one holds up nobody."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], context: ssl.SSLContext) -> None:
        super().__init__(address, Answering)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("rules", type=Path)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8443)
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    parser.add_argument("--clients", type=Path, required=True, help="CA of the certificates that brokers show")
    options = parser.parse_args()
    Answering.rules = json.loads(options.rules.read_text())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.certificate, options.key)
    context.load_verify_locations(options.clients)
    context.verify_mode = ssl.CERT_REQUIRED
    with Server((options.host, options.port), context) as server:
        print(f"answering on https://{options.host}:{server.server_address[1]}/", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
