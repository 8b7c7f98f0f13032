# -*- test-case-name: tests.docs.test_snippets -*-
"""Every TOML example of the documentation loads, every link leads somewhere, every command it names exists."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import trustme
from pydantic import BaseModel
from twisted.trial.unittest import SynchronousTestCase

from mqttsecure.cli.main import main
from mqttsecure.errors import PolicyLoadError
from mqttsecure.policy.builtin.password_hash import User, hash_password
from mqttsecure.policy.builtin.rules import parse_rule
from mqttsecure.policy.registry import PolicyRegistry
from mqttsecure.service.assembly import check
from mqttsecure.service.config import load_config
from mqttsecure.service.policy_test_file import read_tests
from mqttsecure.service.problems import Problems
from mqttsecure.service.tables import read_tables
from mqttsecure.service.toml_lines import toml_lines
from tests.support.process import CHECKOUT

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING: Final = re.compile(r"^#+ +(.+)$", re.MULTILINE)
_OF_OTHERS: Final = {"business-hours", "local:retain_guard", "local:tenants"}
"""Policies of examples, which are not installed here: their own tests use them."""


@dataclass(frozen=True)
class Snippet:
    """A fenced block and where it stands."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(CHECKOUT)}:{self.line}"


def pages() -> list[Path]:
    """All pages for readers."""
    found = [CHECKOUT / "README.md", CHECKOUT / "CHANGELOG.md", CHECKOUT / "certs" / "README.md"]
    for folder in ("docs", "examples"):
        found += sorted((CHECKOUT / folder).rglob("*.md"))
    return found


def snippets(language: str) -> Iterator[Snippet]:
    """The fenced blocks of one language."""
    for page in pages():
        text = page.read_text(encoding="utf-8")
        for match in _FENCE.finditer(text):
            if match[1] == language:
                yield Snippet(page, text.count("\n", 0, match.start()) + 1, language, match[2])


def _slug(heading: str) -> str:
    """The anchor that a heading gets."""
    text = re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower())
    return text.replace(" ", "-")


class TomlTests(SynchronousTestCase):
    """Someone copies an example into a broker.toml."""

    def setUp(self) -> None:
        self.registry = PolicyRegistry()

    def test_there_are_examples(self) -> None:
        """The patterns of this test find what they are to check."""
        kinds = [self.kind(each) for each in snippets("toml")]
        self.assertGreater(kinds.count("tables"), 5)
        self.assertGreater(kinds.count("rules"), 0)
        self.assertGreater(kinds.count("configuration"), 0)

    @staticmethod
    def kind(snippet: Snippet) -> str:
        """A whole configuration, some tables of one, lines of a list of rules, or a policy test file."""
        if snippet.text.lstrip().startswith('"'):
            return "rules"
        document = tomllib.loads(snippet.text)
        if "test" in document:
            return "policy tests"
        return "configuration" if {"listener", "policy"} <= document.keys() else "tables"

    def test_rules_can_be_read(self) -> None:
        """A line that is to be added to the rules is a rule."""
        for snippet in snippets("toml"):
            if self.kind(snippet) == "rules":
                for rule in tomllib.loads(f"rules = [\n{snippet.text}\n]")["rules"]:
                    parse_rule(rule)

    def test_tables_are_valid(self) -> None:
        """Some tables of a configuration have no unknown key and no wrong value."""
        for snippet in snippets("toml"):
            if self.kind(snippet) in ("configuration", "tables"):
                problems = Problems(snippet.page, toml_lines(snippet.text))
                read_tables(tomllib.loads(snippet.text), problems)
                self.assertEqual(problems.texts, [], str(snippet))

    def test_policy_tests_can_be_read(self) -> None:
        """What is shown as a file of policy tests is one."""
        file = Path(self.mktemp())
        for snippet in snippets("toml"):
            if self.kind(snippet) == "policy tests":
                file.write_text(snippet.text)
                self.assertGreater(len(read_tests(file)), 0, str(snippet))

    def test_options_of_policies_are_valid(self) -> None:
        """Each policy exists and takes the options that the example gives it."""
        for snippet in snippets("toml"):
            if self.kind(snippet) == "rules":
                continue
            for table in tomllib.loads(snippet.text).get("policy", []):
                model = self.options_of(table.pop("use"), snippet)
                for key in ("id", "on", "timeout_ms", "final", "required"):
                    table.pop(key, None)
                if model is not None:
                    model.model_validate(table)

    def options_of(self, use: str, snippet: Snippet) -> type[BaseModel] | None:
        try:
            model: type[BaseModel] = self.registry.find(use).factory.options
        except PolicyLoadError as error:
            self.assertIn(use, _OF_OTHERS, f"{snippet}: {error}")
            return None
        return model

    def test_whole_configurations_pass_the_check(self) -> None:
        """With the files that it names, such a configuration can be used as it stands."""
        for snippet in snippets("toml"):
            if self.kind(snippet) == "configuration":
                config = self.with_files(snippet.text)
                self.assertTrue(check(load_config(config)).listeners, str(snippet))

    def with_files(self, text: str) -> Path:
        folder = Path(self.mktemp())
        folder.mkdir()
        ca = trustme.CA()
        server = ca.issue_cert("localhost")
        ca.cert_pem.write_to_path(folder / "devices-ca.pem")
        (folder / "server.pem").write_bytes(b"".join(blob.bytes() for blob in server.cert_chain_pems))
        server.private_key_pem.write_to_path(folder / "server.key")
        (folder / "server.key").chmod(0o600)
        (folder / "users").touch(0o600)
        (folder / "users").write_text(User("alice", hash_password(b"secret"), ("admins",)).line() + "\n")
        self.patch(os, "environ", {**os.environ, "CREDENTIALS_DIRECTORY": str(folder.absolute())})
        config = folder / "broker.toml"
        config.write_text(text)
        return config


class LinkTests(SynchronousTestCase):
    """Someone follows a link."""

    def test_links_lead_somewhere(self) -> None:
        """To a file of the repository, and to a heading that it has."""
        broken = []
        for page in pages():
            for target in _LINK.findall(_FENCE.sub("", page.read_text(encoding="utf-8"))):
                if "://" not in target and not self.exists(page, target):
                    broken.append(f"{page.relative_to(CHECKOUT)}: {target}")
        self.assertEqual(broken, [])

    @staticmethod
    def exists(page: Path, target: str) -> bool:
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists() or not file.is_relative_to(CHECKOUT):
            return False
        return not anchor or anchor in map(_slug, _HEADING.findall(file.read_text(encoding="utf-8")))

    def test_every_page_is_reached(self) -> None:
        """From the index of the documentation each page is found, if need be over another one."""
        start = CHECKOUT / "docs" / "README.md"
        seen, todo = {start}, [start]
        while todo:
            page = todo.pop()
            for target in _LINK.findall(page.read_text(encoding="utf-8")):
                file = (page.parent / target.partition("#")[0]).resolve()
                if file.suffix == ".md" and file.exists() and file not in seen:
                    seen.add(file)
                    todo.append(file)
        missing = [str(each.relative_to(CHECKOUT)) for each in (CHECKOUT / "docs").rglob("*.md") if each not in seen]
        self.assertEqual(missing, [])

    def test_named_modules_and_files_exist(self) -> None:
        """A path in code font is a path of the repository."""
        pattern = re.compile(r"`((?:mqttsecure|tests|docs|etc|examples|bench)/[\w./-]+\.(?:py|md|toml))`")
        broken = []
        for page in pages():
            broken += [
                f"{page.relative_to(CHECKOUT)}: {name}"
                for name in pattern.findall(page.read_text(encoding="utf-8"))
                if not (CHECKOUT / name).exists()
            ]
        self.assertEqual(broken, [])


class CommandTests(SynchronousTestCase):
    """Someone pastes a command."""

    def test_commands_exist(self) -> None:
        """What comes after ``mqttsecure`` in a shell block is one of its commands."""
        assert isinstance(main, click.Group)
        for snippet in (*snippets(""), *snippets("sh"), *snippets("ini")):
            for line in snippet.text.splitlines():
                command: Any = re.match(r"(?:[\w/.-]*/)?mqttsecure ([a-z]+)\b", line.removeprefix("ExecStartPre="))
                if command is not None:
                    self.assertIn(command[1], main.commands, f"{snippet}: {line}")
