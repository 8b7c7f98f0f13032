"""An HTTPS service on loopback that answers what a test says, with certificates of a CA of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trustme
from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.ssl import Certificate, CertificateOptions, PrivateCertificate, trustRootFromCertificates
from twisted.protocols.policies import WrappingFactory
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

__all__ = ["HttpsService", "key_pair_pem"]

_reactor: Any = reactor


class _Answers(Resource):
    isLeaf = True

    def __init__(self, service: HttpsService) -> None:
        super().__init__()
        self._service = service

    def render(self, request: Request) -> Any:
        self._service.requests.append((request.method.decode(), request.path.decode(), request.content.read()))
        return self._service.answer(request)


class _Connections(WrappingFactory):
    """Knows the connections there are."""

    noisy = False

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.made = 0
        self._gone: list[Deferred[None]] = []

    def registerProtocol(self, protocol: Any) -> None:
        super().registerProtocol(protocol)
        self.made += 1

    def unregisterProtocol(self, protocol: Any) -> None:
        super().unregisterProtocol(protocol)
        self._tell()

    def drop(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._gone.append(done)
        for each in list(self.protocols):
            each.transport.abortConnection()
        self._tell()
        return done

    def _tell(self) -> None:
        if not self.protocols:
            gone, self._gone = self._gone, []
            for each in gone:
                each.callback(None)


class HttpsService:
    """Listens; ``answer`` gets each request and returns a body, or NOT_DONE_YET.

    Attributes:
        requests: method, path and body of each.
        ca_file: PEM of the CA that signed its certificate.
    """

    def __init__(self, folder: Path, *, hostname: str = "localhost", client_ca: trustme.CA | None = None) -> None:
        self.ca = trustme.CA()
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.ca_file = folder / "service-ca.pem"
        self.ca.cert_pem.write_to_path(str(self.ca_file))
        self.requests: list[tuple[str, str, bytes]] = []
        self.answer: Callable[[Any], Any] = lambda request: b""
        issued = self.ca.issue_cert(hostname)
        pem = issued.private_key_pem.bytes() + b"\n" + issued.cert_chain_pems[0].bytes()
        certificate = PrivateCertificate.loadPEM(pem)
        more: dict[str, Any] = {}
        if client_ca is not None:
            more["trustRoot"] = trustRootFromCertificates([Certificate.loadPEM(client_ca.cert_pem.bytes())])
        context = CertificateOptions(
            privateKey=certificate.privateKey.original, certificate=certificate.original, **more
        )
        self._factory = _Connections(Site(_Answers(self)))
        self._port = _reactor.listenSSL(0, self._factory, context, interface="127.0.0.1")
        self.port: int = self._port.getHost().port

    @property
    def connections(self) -> int:
        """How many were made."""
        return self._factory.made

    @property
    def url(self) -> str:
        """Where it is."""
        return f"https://localhost:{self.port}/keys"

    def say(self, document: Any, status: int = 200, media_type: str = "application/json") -> None:
        """Answer that from now on."""

        def answer(request: Any) -> bytes:
            request.setResponseCode(status)
            request.setHeader(b"content-type", media_type.encode())
            return document if isinstance(document, bytes) else json.dumps(document).encode()

        self.answer = answer

    def hang(self) -> None:
        """Take requests, and never answer."""
        self.answer = lambda request: NOT_DONE_YET

    def drop_connections(self) -> Deferred[None]:
        """Close what is open, as a service does that restarts; fires when all are gone."""
        return self._factory.drop()

    def stop(self) -> Deferred[Any]:
        """Listen no more."""
        return DeferredList([maybeDeferred(self._port.stopListening), self.drop_connections()])


def key_pair_pem(issued: trustme.LeafCert, folder: Path, name: str) -> tuple[Path, Path]:
    """Certificate and key of a client, as files."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
    certificate.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
    key.write_bytes(issued.private_key_pem.bytes())
    key.chmod(0o600)
    return certificate, key
