# -*- test-case-name: tests.pki.test_names -*-
"""Names in certificates."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mqttsecure.pki.errors import CertificateProblem
from mqttsecure.pki.names import check_common_name, file_stem, name_text, parse_name, parse_names, subject
from tests.pki.case import PkiCase


class ParseTests(PkiCase):
    """Someone writes names on the command line."""

    def test_kinds_are_seen_or_told(self) -> None:
        """And written back in a form that is read again."""
        for text, expected in (
            ("broker.lab.test", "DNS:broker.lab.test"),
            ("*.lab.test", "DNS:*.lab.test"),
            ("10.77.0.10", "IP:10.77.0.10"),
            ("fd77::10", "IP:fd77::10"),
            ("spiffe://plant/pump-7", "URI:spiffe://plant/pump-7"),
            ("urn:device:7", "URI:urn:device:7"),
            ("dns:localhost", "DNS:localhost"),
            ("EMAIL:pump@example.org", "EMAIL:pump@example.org"),
        ):
            self.assertEqual(name_text(parse_name(text)), expected)
            self.assertEqual(parse_name(expected), parse_name(text))

    def test_what_is_no_name(self) -> None:
        """Each is refused with an example."""
        for text, reason in (
            ("", "is no DNS name; write it like broker.example.org"),
            ("a b", "is no DNS name"),
            ("-a.test", "is no DNS name"),
            ("broker.lab.test:8883", "is no DNS name.*without a port"),
            ("*.test", "half the world"),
            ("*", "half the world"),
            ("a.*.test", "is no DNS name"),
            ("10.77.0.300", "neither an address nor a DNS name"),
            ("bröker.test", "write it in its xn-- form"),
            ("IP:broker", "is no IP address"),
            ("URI:nothing", "is no URI"),
            ("EMAIL:nobody", "is no e-mail address"),
            ("a" * 64 + ".test", "is no DNS name"),
            ("nul\0.test", "is no DNS name"),
        ):
            with self.assertRaisesRegex(CertificateProblem, reason):
                parse_name(text)

    def test_twice_is_once_and_too_many_are_refused(self) -> None:
        """The order stays."""
        self.assertEqual(
            list(map(name_text, parse_names(["b.test", "a.test", "b.test"]))), ["DNS:b.test", "DNS:a.test"]
        )
        with self.assertRaisesRegex(CertificateProblem, "1001 names are too many"):
            parse_names([f"h{number}.test" for number in range(1001)])

    @given(st.text(max_size=80))
    def test_any_text_is_a_name_or_a_problem(self, text: str) -> None:
        """Nothing else comes out, and what is a name is read again as the same."""
        try:
            name = parse_name(text)
        except CertificateProblem:
            return
        self.assertEqual(parse_name(name_text(name)), name)


class SubjectTests(PkiCase):
    """Common names and file names."""

    def test_subject(self) -> None:
        """Groups are organizational units, which the broker reads as groups."""
        self.assertEqual(subject("pump-7", ["sensors"], "Plant").rfc4514_string(), "CN=pump-7,OU=sensors,O=Plant")

    def test_names_that_cannot_be(self) -> None:
        """Empty, too long, not printable."""
        for name in ("", " a", "a\0b", "a\nb", "a" * 65):
            self.assertRaises(CertificateProblem, check_common_name, name)

    @given(st.text(min_size=1, max_size=64))
    def test_file_stems_stay_in_their_folder(self, name: str) -> None:
        """No slash, no hidden file, and an ordinary name is itself."""
        stem = file_stem(name)
        self.assertTrue(stem and "/" not in stem and "\0" not in stem and not stem.startswith((".", "-")), stem)
        self.assertEqual(file_stem(stem), stem)

    def test_different_names_have_different_files(self) -> None:
        """Also where both would be written alike."""
        self.assertEqual(len({file_stem(name) for name in ("a/b", "a_b", "a b", "*.lab", "_.lab")}), 5)
        self.assertEqual(file_stem("broker.lab.test"), "broker.lab.test")
