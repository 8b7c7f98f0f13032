# -*- test-case-name: tests.lab.tls.test_names -*-
"""Numbers of TLS by name, as the IANA registries and the RFCs write them."""

from __future__ import annotations

from typing import Final

__all__ = [
    "ALERTS",
    "ALERT_MEANINGS",
    "CLIENT_CERTIFICATE_TYPES",
    "CONTENT_TYPES",
    "EXTENSIONS",
    "GROUPS",
    "HANDSHAKE_TYPES",
    "SCHEMES",
    "VERSIONS",
    "group_name",
    "is_grease",
    "scheme_name",
    "version_name",
]

CONTENT_TYPES: Final = {
    20: "ChangeCipherSpec",
    21: "Alert",
    22: "Handshake",
    23: "ApplicationData",
    24: "Heartbeat",
}

VERSIONS: Final = {
    0x0002: "SSL 2.0",
    0x0300: "SSL 3.0",
    0x0301: "TLS 1.0",
    0x0302: "TLS 1.1",
    0x0303: "TLS 1.2",
    0x0304: "TLS 1.3",
}

HANDSHAKE_TYPES: Final = {
    0: ("hello_request", "HelloRequest"),
    1: ("client_hello", "ClientHello"),
    2: ("server_hello", "ServerHello"),
    4: ("new_session_ticket", "NewSessionTicket"),
    5: ("end_of_early_data", "EndOfEarlyData"),
    6: ("hello_retry_request", "HelloRetryRequest"),
    8: ("encrypted_extensions", "EncryptedExtensions"),
    11: ("certificate", "Certificate"),
    12: ("server_key_exchange", "ServerKeyExchange"),
    13: ("certificate_request", "CertificateRequest"),
    14: ("server_hello_done", "ServerHelloDone"),
    15: ("certificate_verify", "CertificateVerify"),
    16: ("client_key_exchange", "ClientKeyExchange"),
    20: ("finished", "Finished"),
    21: ("certificate_url", "CertificateURL"),
    22: ("certificate_status", "CertificateStatus"),
    23: ("supplemental_data", "SupplementalData"),
    24: ("key_update", "KeyUpdate"),
    25: ("compressed_certificate", "CompressedCertificate"),
    67: ("next_protocol", "NextProtocol"),
}
"""Type to kind and name."""

ALERTS: Final = {
    0: "close_notify",
    10: "unexpected_message",
    20: "bad_record_mac",
    21: "decryption_failed",
    22: "record_overflow",
    30: "decompression_failure",
    40: "handshake_failure",
    41: "no_certificate",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    47: "illegal_parameter",
    48: "unknown_ca",
    49: "access_denied",
    50: "decode_error",
    51: "decrypt_error",
    52: "too_many_cids_requested",
    60: "export_restriction",
    70: "protocol_version",
    71: "insufficient_security",
    80: "internal_error",
    86: "inappropriate_fallback",
    90: "user_canceled",
    100: "no_renegotiation",
    109: "missing_extension",
    110: "unsupported_extension",
    111: "certificate_unobtainable",
    112: "unrecognized_name",
    113: "bad_certificate_status_response",
    114: "bad_certificate_hash_value",
    115: "unknown_psk_identity",
    116: "certificate_required",
    120: "no_application_protocol",
    121: "ech_required",
}

ALERT_MEANINGS: Final = {
    0: "the sender has nothing more to say: an orderly end, not an error",
    10: "a message came that has no place at this point",
    20: "a record did not pass its integrity check: it was changed on the way, or the keys differ",
    22: "a record is longer than allowed",
    40: "nothing in common that both accept: no suite, no group, or a certificate that was asked for is missing",
    42: "the certificate is damaged or its signature is wrong",
    43: "the certificate is of a kind that the other end does not take, or not for this purpose",
    44: "the certificate was revoked",
    45: "the certificate is not valid at this time",
    46: "the certificate was refused for a reason that is not told",
    47: "a field has a value that it must not have",
    48: "the certificate does not lead to a CA that the other end trusts",
    49: "the certificate is fine, but its owner may not connect",
    50: "a message could not be read, or the connection ended in the middle",
    51: "a signature or Finished did not come out right: somebody changed the handshake, or a key is wrong",
    70: "the version that the client offered is not spoken here",
    71: "the offered ciphers are too weak for the server",
    80: "the sender has a problem of its own",
    86: "the client fell back to an older version although both speak a newer one: somebody may have forced it to",
    90: "the user cancelled",
    100: "a new handshake within the connection was asked for, and refused",
    109: "an extension that is needed is missing",
    110: "an extension came that was not asked for",
    112: "no server of this name is here",
    115: "the pre-shared key is not known",
    116: "a client certificate is required, and none was sent",
    120: "no application protocol in common (ALPN)",
}

GROUPS: Final = {
    0x0013: "secp192r1",
    0x0015: "secp224r1",
    0x0016: "secp256k1",
    0x0017: "secp256r1",
    0x0018: "secp384r1",
    0x0019: "secp521r1",
    0x001A: "brainpoolP256r1",
    0x001B: "brainpoolP384r1",
    0x001C: "brainpoolP512r1",
    0x001D: "x25519",
    0x001E: "x448",
    0x001F: "brainpoolP256r1tls13",
    0x0020: "brainpoolP384r1tls13",
    0x0021: "brainpoolP512r1tls13",
    0x0029: "curveSM2",
    0x0100: "ffdhe2048",
    0x0101: "ffdhe3072",
    0x0102: "ffdhe4096",
    0x0103: "ffdhe6144",
    0x0104: "ffdhe8192",
    0x0200: "MLKEM512",
    0x0201: "MLKEM768",
    0x0202: "MLKEM1024",
    0x11EB: "SecP256r1MLKEM768",
    0x11EC: "X25519MLKEM768",
    0x11ED: "SecP384r1MLKEM1024",
    0x6399: "X25519Kyber768Draft00",
}

SCHEMES: Final = {
    0x0101: "rsa_pkcs1_md5",
    0x0201: "rsa_pkcs1_sha1",
    0x0202: "dsa_sha1",
    0x0203: "ecdsa_sha1",
    0x0301: "rsa_pkcs1_sha224",
    0x0302: "dsa_sha224",
    0x0303: "ecdsa_sha224",
    0x0401: "rsa_pkcs1_sha256",
    0x0402: "dsa_sha256",
    0x0403: "ecdsa_secp256r1_sha256",
    0x0420: "rsa_pkcs1_sha256_legacy",
    0x0501: "rsa_pkcs1_sha384",
    0x0502: "dsa_sha384",
    0x0503: "ecdsa_secp384r1_sha384",
    0x0520: "rsa_pkcs1_sha384_legacy",
    0x0601: "rsa_pkcs1_sha512",
    0x0602: "dsa_sha512",
    0x0603: "ecdsa_secp521r1_sha512",
    0x0620: "rsa_pkcs1_sha512_legacy",
    0x0708: "sm2sig_sm3",
    0x0804: "rsa_pss_rsae_sha256",
    0x0805: "rsa_pss_rsae_sha384",
    0x0806: "rsa_pss_rsae_sha512",
    0x0807: "ed25519",
    0x0808: "ed448",
    0x0809: "rsa_pss_pss_sha256",
    0x080A: "rsa_pss_pss_sha384",
    0x080B: "rsa_pss_pss_sha512",
    0x081A: "ecdsa_brainpoolP256r1tls13_sha256",
    0x081B: "ecdsa_brainpoolP384r1tls13_sha384",
    0x081C: "ecdsa_brainpoolP512r1tls13_sha512",
    0x0904: "mldsa44",
    0x0905: "mldsa65",
    0x0906: "mldsa87",
}

CLIENT_CERTIFICATE_TYPES: Final = {
    1: "rsa_sign",
    2: "dss_sign",
    3: "rsa_fixed_dh",
    4: "dss_fixed_dh",
    64: "ecdsa_sign",
    65: "rsa_fixed_ecdh",
    66: "ecdsa_fixed_ecdh",
}

EXTENSIONS: Final = {
    0: "server_name",
    1: "max_fragment_length",
    2: "client_certificate_url",
    3: "trusted_ca_keys",
    4: "truncated_hmac",
    5: "status_request",
    6: "user_mapping",
    7: "client_authz",
    8: "server_authz",
    9: "cert_type",
    10: "supported_groups",
    11: "ec_point_formats",
    12: "srp",
    13: "signature_algorithms",
    14: "use_srtp",
    15: "heartbeat",
    16: "application_layer_protocol_negotiation",
    17: "status_request_v2",
    18: "signed_certificate_timestamp",
    19: "client_certificate_type",
    20: "server_certificate_type",
    21: "padding",
    22: "encrypt_then_mac",
    23: "extended_master_secret",
    24: "token_binding",
    25: "cached_info",
    27: "compress_certificate",
    28: "record_size_limit",
    34: "delegated_credential",
    35: "session_ticket",
    41: "pre_shared_key",
    42: "early_data",
    43: "supported_versions",
    44: "cookie",
    45: "psk_key_exchange_modes",
    47: "certificate_authorities",
    48: "oid_filters",
    49: "post_handshake_auth",
    50: "signature_algorithms_cert",
    51: "key_share",
    52: "transparency_info",
    54: "connection_id",
    55: "external_id_hash",
    56: "external_session_id",
    57: "quic_transport_parameters",
    58: "ticket_request",
    59: "dnssec_chain",
    13172: "next_protocol_negotiation",
    17513: "application_settings",
    17613: "application_settings_new",
    30032: "channel_id",
    65037: "encrypted_client_hello",
    65281: "renegotiation_info",
}


def is_grease(number: int) -> bool:
    """Whether a number of two bytes is reserved to be ignored (RFC 8701)."""
    return number & 0x0F0F == 0x0A0A and number >> 8 == number & 0xFF


def _name(table: dict[int, str], number: int) -> str:
    if number in table:
        return table[number]
    return f"GREASE (0x{number:04x})" if is_grease(number) else f"unknown (0x{number:04x})"


def group_name(number: int) -> str:
    """A group of a key exchange."""
    return _name(GROUPS, number)


def scheme_name(number: int) -> str:
    """A signature scheme."""
    return _name(SCHEMES, number)


def version_name(number: int) -> str:
    """A protocol version."""
    if 0x7F00 <= number <= 0x7FFF:
        return f"TLS 1.3 draft {number & 0xFF}"
    return _name(VERSIONS, number)
