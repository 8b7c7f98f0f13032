# -*- test-case-name: tests.pki.test_authority -*-
"""What the certificate authority refuses."""

from __future__ import annotations

from mqttsecure.errors import MqttsecureError

__all__ = ["CertificateProblem", "FileIsThere", "WrongPassphrase"]


class CertificateProblem(MqttsecureError):
    """It cannot or must not be done; the text is one line of plain words that ends in the mend."""


class FileIsThere(CertificateProblem):
    """A file would have been overwritten."""


class WrongPassphrase(CertificateProblem):
    """A key or a bundle does not open with this passphrase, or needs one."""
