# -*- test-case-name: tests.service.test_policy_tests -*-
"""Files of policy tests: who does what, and what must come of it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BeforeValidator, Field, ValidationError

from mqttsecure.core.decisions import Principal, Source
from mqttsecure.errors import ConfigError
from mqttsecure.policy.identity import parse_principal
from mqttsecure.service.explain_errors import location_of, what_is_wrong
from mqttsecure.service.files import read_utf8
from mqttsecure.service.problems import Problems
from mqttsecure.service.scenario import parse_peer
from mqttsecure.service.schema import Strings, Table, documented
from mqttsecure.service.toml_lines import toml_lines

__all__ = ["PolicyTest", "TestTable", "read_tests"]

MAXIMUM_FILE: Final = 16 * 1024 * 1024
"""Bytes of one file: some fifty thousand tests, as much as anyone would wait for."""

_LINE: Final = re.compile(r"at line (\d+)")


def _check_peer(value: object) -> object:
    if isinstance(value, str):
        parse_peer(value)
    return value


def _check_who(value: object) -> object:
    if isinstance(value, str):
        parse_principal(value)
    return value


class TestTable(Table):
    """`[[test]]`: one question to the chain, and the answer that it must give."""

    name: Annotated[str, Field(min_length=1)] = documented(
        "What is shown when it fails.", example="guests are kept out"
    )
    who: Annotated[str, BeforeValidator(_check_who)] | None = documented(
        "Who the client is, as AUTHORITY:NAME, however it proves that.", default=None, example="lab:alice"
    )
    user: str | None = documented(
        "In its place: the user name it logs in with; the password is taken to be right.", default=None, example="alice"
    )
    groups: Strings = documented("Groups it is in, beside those that are known.", default=(), example=["sensors"])
    from_: Annotated[str, BeforeValidator(_check_peer)] | None = Field(
        None, alias="from", description="Its address, or unix:UID.", examples=["192.0.2.7"]
    )
    listener: str | None = documented("The listener it comes to.", default=None, example="tls")
    client_id: str | None = documented("Its Client Identifier.", default=None, example="alice-1")
    cert_cn: str | None = documented("The common name of its certificate.", default=None, example="pump-7")
    cert_authority: str | None = documented("The authority of that.", default=None, example="devices")
    tls_version: Literal["TLSv1.2", "TLSv1.3"] | None = documented(
        "The TLS version it speaks.", default=None, example="TLSv1.2"
    )
    cipher: str | None = documented("OpenSSL's name of the cipher suite.", default=None, example="AES128-SHA")
    version: Literal[3, 4, 5] = documented("The MQTT protocol version: 4 is 3.1.1.", default=5, example=4)
    attributes: dict[str, str | int | bool] = documented(
        "Attributes known beforehand.", default={}, example={"tenant": "acme"}
    )
    do: Literal["connect", "publish", "subscribe", "receive"] = documented("What it does.", example="publish")
    topic: str = documented("The Topic Name, or at subscribe the Topic Filter.", default="", example="lab/1")
    qos: Annotated[int, Field(ge=0, le=2)] = documented("Of the message or subscription.", default=0, example=1)
    retain: bool = documented("RETAIN of the message.", default=False, example=True)
    size: Annotated[int, Field(ge=0, le=268_435_455)] = documented("Bytes of its payload.", default=0, example=2000)
    expect: Literal["permit", "deny", "unknown"] = documented(
        '"permit" also where counting policies have yet to see it so; "unknown": others have to.', example="deny"
    )
    provided: Strings = documented(
        'Ids of policies that are taken to see it so, with "permit".', default=(), example=["office-hours"]
    )
    rule: str | None = documented(
        'Who must decide, as POLICY or POLICY/RULE, or "default".', default=None, example="topics/rules[2]"
    )
    reason_code: Annotated[int, Field(ge=0x80, le=0xFF)] | None = documented(
        "The Reason Code of the denial.", default=None, example=0x87
    )


@dataclass(slots=True, frozen=True)
class PolicyTest:
    """One test and where it stands."""

    table: TestTable
    source: Source

    @property
    def principal(self) -> Principal | None:
        return None if self.table.who is None else parse_principal(self.table.who)


def read_tests(file: Path) -> list[PolicyTest]:
    """Read a file of tests.

    Raises:
        ConfigError: with every problem of it; a file without any test is one, too.
    """
    text = read_utf8(file, MAXIMUM_FILE, "name a readable file of policy tests").replace("\r\n", "\n")
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        found = _LINE.search(str(error))
        raise ConfigError(
            f"{file}:{found[1] if found else text.count(chr(10)) + 1}: not valid TOML: {error}"
        ) from error
    problems = Problems(file, toml_lines(text))
    for name in document:
        if name != "test":
            problems.add_unknown_key((name,), ["test"])
    tables = document.get("test", [])
    if not isinstance(tables, list) or not tables:
        problems.add((), "holds no test; write one as a `[[test]]` table, or name another file")
        tables = []
    tests = [test for index, table in enumerate(tables) if (test := _test(file, problems, index, table)) is not None]
    problems.raise_if_any()
    return tests


def _test(file: Path, problems: Problems, index: int, table: Any) -> PolicyTest | None:
    path = ("test", index)
    try:
        read = TestTable.model_validate(table)
    except ValidationError as error:
        for detail in error.errors():
            problems.add(path + location_of(detail), what_is_wrong(detail, TestTable, path, problems))
        return None
    for text in _contradictions(read):
        problems.add(path, text)
    return PolicyTest(read, Source(str(file), problems.line_of(path)))


def _contradictions(table: TestTable) -> list[str]:
    found = []
    if table.who is not None and table.user is not None:
        found.append("`who` says who the client is, and `user` how it logs in; give one of them")
    if table.cert_authority is not None and table.cert_cn is None:
        found.append("`cert_authority` has no effect without `cert_cn`")
    if (table.do == "connect") == bool(table.topic):
        found.append("`topic` goes with publish, subscribe and receive, and with each of them")
    if table.reason_code is not None and table.expect != "deny":
        found.append('`reason_code` goes with expect = "deny"')
    if table.provided and table.expect != "permit":
        found.append('`provided` goes with expect = "permit"')
    return found
