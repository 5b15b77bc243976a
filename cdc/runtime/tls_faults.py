"""What failed in a TLS handshake, from OpenSSL's text.

Why the text: a driver that tries several hosts hands on what each of them said, not the errors.
"""

import re
from enum import StrEnum


class TlsFault(StrEnum):
    """The value is what a person is told."""

    HOST = "the certificate is for another host"
    EXPIRED = "the certificate has expired"
    CA = "the certificate's CA is not trusted"
    OURS = "the server does not accept our certificate"
    FILE = "a certificate or key file cannot be used"
    NO_TLS = "the server does not speak TLS"
    OTHER = "the TLS handshake failed"


_SIGNS: tuple[tuple[str, TlsFault], ...] = (
    ("Hostname mismatch", TlsFault.HOST),
    ("IP address mismatch", TlsFault.HOST),
    ("certificate has expired", TlsFault.EXPIRED),
    ("CERTIFICATE_VERIFY_FAILED", TlsFault.CA),
    ("NO_CERTIFICATE_OR_CRL_FOUND", TlsFault.FILE),
    ("KEY_VALUES_MISMATCH", TlsFault.FILE),
    ("PEM", TlsFault.FILE),
    ("CERTIFICATE", TlsFault.OURS),  # alerts: required, bad, unknown, revoked
    ("UNKNOWN_CA", TlsFault.OURS),
    ("WRONG_VERSION_NUMBER", TlsFault.NO_TLS),
    ("EOF occurred", TlsFault.NO_TLS),
    ("rejected SSL upgrade", TlsFault.NO_TLS),
    ("SSL handshake failed", TlsFault.OTHER),
    ("SSL: ", TlsFault.OTHER),
    ("[SSL]", TlsFault.OTHER),
)
_CODES = re.compile(
    r"\[(?:SSL|X509)[^]]*\] |SSL handshake failed: |certificate verify failed: | \(_ssl\.c:\d+\)"
)


def tls_fault(text: str) -> TlsFault | None:
    """None where it says nothing of TLS."""
    return next((fault for sign, fault in _SIGNS if sign in text), None)


def without_codes(text: str) -> str:
    """The text as a person reads it."""
    return _CODES.sub("", text)
