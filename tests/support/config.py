"""Writes configurations for brokers that tests really start: certificates, users and a ``broker.toml``."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trustme

from mqttsecure.policy.builtin.password_hash import User, hash_password

__all__ = ["BrokerFiles", "write_config"]

ALICE_PASSWORD = "correct horse"
BOB_PASSWORD = "battery staple"
USERS = {"alice": ALICE_PASSWORD, "bob": BOB_PASSWORD}
RULES = (
    "permit user:alice publish,read lab/#",
    "permit user:bob read lab/#",
    "deny everyone read lab/secret/#",
    "permit group:admins read $SYS/#",
)


@dataclass(slots=True)
class BrokerFiles:
    """Where everything is that a client needs; the CA itself is there to issue more certificates."""

    config: Path
    ca: Path
    certificate_authority: trustme.CA
    users: Path
    passwords: Mapping[str, str] = field(default_factory=dict)

    def issue(self, common_name: str, groups: Sequence[str] = ()) -> tuple[Path, Path]:
        """A client certificate CN=``common_name`` and its key; ``groups`` (at most one) as its OU."""
        leaf = self.certificate_authority.issue_cert(
            common_name=common_name, organization_unit_name=groups[0] if groups else None
        )
        certificate, key = self.ca.parent / f"{common_name}.pem", self.ca.parent / f"{common_name}.key"
        leaf.cert_chain_pems[0].write_to_path(certificate)
        leaf.private_key_pem.write_to_path(key)
        key.chmod(0o600)
        return certificate, key

    def client_context(self, certificate: tuple[Path, Path] | None = None) -> ssl.SSLContext:
        """A context that trusts the broker's CA, for a blocking client."""
        context = ssl.create_default_context(cafile=str(self.ca))
        if certificate is not None:
            context.load_cert_chain(*map(str, certificate))
        return context


def write_config(
    directory: Path,
    *,
    users: Mapping[str, str] = USERS,
    groups: Mapping[str, Sequence[str]] | None = None,
    rules: Sequence[str] = RULES,
    policies: str | None = None,
    extra_policies: str = "",
    limits: str = "",
    listener: str = "",
    extra: str = "",
    client_certificate: str = "optional",
    plaintext: bool = False,
) -> BrokerFiles:
    """Write a configuration with one TLS listener named ``tls`` on a free port of 127.0.0.1.

    The authority ``lab`` has the users and the CA. Without ``policies`` the chain is that of ``etc/broker.toml``, with
    any Client Identifier and without a rate limit.

    Args:
        directory: an existing folder, such as a test's ``self.mktemp()``, made.
        users: passwords by user.
        groups: groups by user.
        rules: of the ``topic-acl``.
        policies: TOML that takes the place of the whole chain.
        extra_policies: TOML before the ``topic-acl``.
        limits: TOML, the keys of ``[limits]``.
        listener: TOML, further keys of the TLS listener.
        extra: TOML at the end, as further listeners or ``[log]``.
        client_certificate: "none", "optional" or "required".
        plaintext: also a plaintext listener named ``plain``, which takes the same users.
    """
    ca = trustme.CA(organization_name="mqttsecure tests")
    server = ca.issue_cert("localhost", "127.0.0.1", "::1")
    ca.cert_pem.write_to_path(directory / "ca.pem")
    server.private_key_pem.write_to_path(directory / "server.key")
    (directory / "server.key").chmod(0o600)
    (directory / "server.pem").write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
    lines = [
        User(name, hash_password(each.encode()), tuple((groups or {}).get(name, ()))) for name, each in users.items()
    ]
    (directory / "users").touch(0o600)
    (directory / "users").write_text("".join(f"{user.line()}\n" for user in lines))
    config = directory / "broker.toml"
    chain = _chain(rules, extra_policies, plaintext) if policies is None else policies
    config.write_text(
        "\n".join(
            (
                _listeners(listener, client_certificate, plaintext),
                '[[authority]]\nname = "lab"\nca = ["ca.pem"]\npassword_file = "users"\n',
                chain,
                f"[limits]\n{limits}\n" if limits else "",
                extra,
            )
        )
    )
    return BrokerFiles(config, directory / "ca.pem", ca, directory / "users", dict(users))


def _listeners(listener: str, client_certificate: str, plaintext: bool) -> str:
    authorities = "" if client_certificate == "none" else ', authorities = ["lab"]'
    tls = f'certificate = "server.pem", key = "server.key", client_certificate = "{client_certificate}"{authorities}'
    text = f'[[listener]]\nname = "tls"\nbind = "127.0.0.1:0"\ntls = {{ {tls} }}\n{listener}\n'
    if plaintext:
        text += '[[listener]]\nname = "plain"\nbind = "127.0.0.1:0"\nplaintext = true\n'
    return text


def _chain(rules: Sequence[str], extra_policies: str, plaintext: bool) -> str:
    quoted = "".join(f"  '{rule}',\n" for rule in rules)
    return f"""\
[[policy]]
id = "addresses"
use = "ip-allowlist"
permit = ["127.0.0.0/8", "::1"]

[[policy]]
id = "connections"
use = "connection-limit"

[[policy]]
id = "handshake"
use = "tls-requirements"
plaintext = "{"loopback" if plaintext else "never"}"

[[policy]]
id = "certificate"
use = "client-certificate"
authorities = ["lab"]

[[policy]]
id = "password"
use = "password-file"
authority = "lab"

[[policy]]
id = "client-ids"
use = "client-id"
patterns = ["*"]

{extra_policies}
[[policy]]
id = "topics"
use = "topic-acl"
authority = "lab"
rules = [
{quoted}]
"""
