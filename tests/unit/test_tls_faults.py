"""What is told of a handshake's end, from OpenSSL's own texts."""

import pytest

from cdc.runtime.tls_faults import TlsFault, tls_fault, without_codes

VERIFY = "h:1: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed:"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"{VERIFY} Hostname mismatch, certificate is not valid for 'h'.", TlsFault.HOST),
        (f"{VERIFY} IP address mismatch, certificate is not valid for '::1'.", TlsFault.HOST),
        (f"{VERIFY} certificate has expired (_ssl.c:1006)", TlsFault.EXPIRED),
        (f"{VERIFY} unable to get local issuer certificate (_ssl.c:1006)", TlsFault.CA),
        ("[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] tlsv13 alert", TlsFault.OURS),
        ("[SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca", TlsFault.OURS),
        ("[SSL: KEY_VALUES_MISMATCH] key values mismatch", TlsFault.FILE),
        ("[X509: NO_CERTIFICATE_OR_CRL_FOUND] no certificate", TlsFault.FILE),
        ("[SSL] PEM lib (_ssl.c:3895)", TlsFault.FILE),
        ("[SSL: WRONG_VERSION_NUMBER] wrong version number", TlsFault.NO_TLS),
        ("[SSL: NO_PROTOCOLS_AVAILABLE] no protocols available", TlsFault.OTHER),
        ("h:1: [Errno 111] Connection refused", None),
        ("connection closed", None),
    ],
)
def test_each_end_has_its_name(text: str, fault: TlsFault | None) -> None:
    assert tls_fault(text) == fault


def test_codes_of_openssl_are_left_out() -> None:
    text = f"{VERIFY} certificate has expired (_ssl.c:1006)"
    assert without_codes(text) == "h:1: certificate has expired"
