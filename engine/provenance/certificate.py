"""The certificate and key that sign a video: the user's own, or ones made on first use.

They come from one folder or from the environment, never from a graph: graphs are shared.
"""

import datetime
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ...models.errors import InputError, OutputError
from ..files import discard, patiently

LOCAL = "local.pem"  # key, certificate and root, made here
CERTIFICATE, KEY = "certificate.pem", "key.pem"  # the user's own
TRUSTED = "trusted.pem"  # roots that the user trusts
CERTIFICATE_VARIABLE, KEY_VARIABLE = "LONGTAKE_CERTIFICATE", "LONGTAKE_KEY"
PASSWORD_VARIABLE = "LONGTAKE_KEY_PASSWORD"
YEARS = 10  # there is no timestamp, so a signature lapses with its certificate
CURVES = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}


class Certificate(NamedTuple):
    """A certificate with its private key.

    Attributes:
        chain: PEM certificates, the signer's first.
        key: PEM of the private key, PKCS#8, not encrypted.
        algorithm: C2PA's name for it.
        source: where they came from, for messages.
    """

    chain: str
    key: str
    algorithm: str
    source: str


def find_certificate(folder: Path, environment: Mapping[str, str]) -> Certificate:
    """The user's own certificate, or this installation's, which is made if there is none.

    Args:
        folder: where certificates are kept; made if need be, readable by this user only.
        environment: LONGTAKE_CERTIFICATE and LONGTAKE_KEY name two PEM files,
            LONGTAKE_KEY_PASSWORD decrypts the key.

    Raises:
        InputError: if a certificate or key cannot be read, has expired, or cannot sign.
        OutputError: if a new certificate cannot be stored.
    """
    password = environment.get(PASSWORD_VARIABLE)
    named = [environment.get(name) for name in (CERTIFICATE_VARIABLE, KEY_VARIABLE)]
    if any(named):
        if not all(named):
            raise InputError(f"set both {CERTIFICATE_VARIABLE} and {KEY_VARIABLE}, or neither.")
        chain, key = _text(Path(named[0])), _secret(Path(named[1]))
        return _checked(chain, key, password, "the environment")
    own = [folder / CERTIFICATE, folder / KEY]
    if any(file.exists() for file in own):
        return _checked(_text(own[0]), _secret(own[1]), password, str(own[0]))
    local = folder / LOCAL
    if not local.exists():
        _store(local, new_certificate())
    text = _secret(local)
    try:
        return _checked(text, text, None, str(local))
    except InputError as error:  # one that was made while the clock was wrong, for example
        raise InputError(f"{error} Delete that file, and a new one is made.") from None


def trust_anchors(folder: Path) -> str:
    """PEM of the roots that this installation trusts: its own, and those in trusted.pem."""
    local, more = folder / LOCAL, folder / TRUSTED
    own = local_root(folder) if local.exists() else ""
    return own + (_text(more) if more.exists() else "")


def local_root(folder: Path) -> str:
    """PEM of the root certificate that was made here; "" if there is none."""
    file = folder / LOCAL
    return _pem(_certificates(_text(file), file.name)[-1]) if file.exists() else ""


def new_certificate() -> str:
    """PEM of a private key, its certificate and the root that issued it; nothing personal in it.

    The root's own key is thrown away, so that nothing more can be issued under it.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = _name("Longtake on this computer")
    root = (
        _unsigned(issuer, issuer, root_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        _unsigned(_name("Longtake"), issuer, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION]), False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), False
        )
        .sign(root_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return private.decode() + _pem(leaf) + _pem(root)


def _unsigned(subject: Any, issuer: Any, public_key: Any) -> Any:
    from cryptography import x509

    # A clock set back by some hours must not put the start of validity in the future.
    start = _now() - datetime.timedelta(days=1)
    return (
        x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + datetime.timedelta(days=365 * YEARS + 3))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _name(common_name: str) -> Any:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    organisation = x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Longtake local install")
    return x509.Name([organisation, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _usage(**allowed: bool) -> Any:
    from cryptography import x509

    uses = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
        *("key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    )
    return x509.KeyUsage(**{**dict.fromkeys(uses, False), **allowed})


def _store(file: Path, text: str) -> None:
    """A new file that only this user can read. If another process was quicker, its file stays."""
    part = file.with_name(f".{secrets.token_hex(4)}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.parent.chmod(0o700)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
            opened.write(text)
        if not file.exists():
            patiently(lambda: part.replace(file))
    except OSError as error:
        raise OutputError(
            f"the key for Content Credentials cannot be stored in {file.parent}: "
            f"{error.strerror or error}. Set credentials to off, or make the folder writable."
        ) from error
    finally:  # it holds a private key
        discard(part)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not PEM text"
        raise InputError(f"{file} cannot be read: {reason}.") from None


def _secret(file: Path) -> str:
    """The text of a file with a private key. Raises InputError if others may read it, as ssh does;
    on Windows folders decide that."""
    try:
        facts = file.stat()
    except OSError:
        return _text(file)
    if os.name == "posix" and facts.st_uid == os.getuid() and facts.st_mode & 0o077:
        raise InputError(
            f"{file} holds a private key, and others may read it (mode {facts.st_mode & 0o777:o}): "
            f"make it yours alone (chmod 600), or delete it if it is no longer secret."
        )
    return _text(file)


def _certificates(text: str, source: str) -> list[Any]:
    from cryptography import x509

    try:
        return x509.load_pem_x509_certificates(text.encode())
    except ValueError:
        raise InputError(f"{source} holds no PEM certificate.") from None


def _checked(chain: str, key: str, password: str | None, source: str) -> Certificate:
    """The certificate, if it can sign: c2pa's own messages on these faults do not help."""
    from cryptography.hazmat.primitives import serialization

    certificates = _certificates(chain, source)
    secret = password.encode() if password else None
    try:
        private = serialization.load_pem_private_key(key.encode(), secret)
    except (TypeError, ValueError):
        raise InputError(
            f"the key that belongs to {source} cannot be read: it must be PEM, and if it is "
            f"encrypted, {PASSWORD_VARIABLE} must hold its password."
        ) from None
    problem = _problem(certificates[0], private)
    if problem:
        raise InputError(f"the certificate from {source} cannot sign: {problem}.")
    opened = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    pems = "".join(_pem(certificate) for certificate in certificates)
    return Certificate(pems, opened.decode(), _algorithm(private), source)


def _problem(certificate: Any, private: Any) -> str | None:
    """Why this certificate and key cannot sign together; None if they can."""
    extensions = {extension.oid._name: extension.value for extension in certificate.extensions}
    usage = extensions.get("keyUsage")
    if getattr(extensions.get("basicConstraints"), "ca", False):
        return (
            "the first in the file is an authority's; the signer's own must come before its issuers"
        )
    if usage is None or not usage.digital_signature:
        return "it is not meant for signatures (key usage digitalSignature)"
    if "extendedKeyUsage" not in extensions:
        return "it has no extended key usage; C2PA asks for one, such as emailProtection"
    if certificate.not_valid_after_utc < _now():
        return f"it expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
    if certificate.not_valid_before_utc > _now():
        start = certificate.not_valid_before_utc
        return f"it is valid only from {start:%Y-%m-%d}; is the clock right?"
    if certificate.public_key() != private.public_key():
        return "the key belongs to another certificate"
    if _algorithm(private) is None:
        return "its kind of key is unknown to C2PA; use EC P-256 or Ed25519"
    return None


def _algorithm(private: Any) -> str | None:
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    if isinstance(private, ec.EllipticCurvePrivateKey):
        return CURVES.get(private.curve.name)
    if isinstance(private, ed25519.Ed25519PrivateKey):
        return "ED25519"
    return "PS256" if isinstance(private, rsa.RSAPrivateKey) else None


def _pem(certificate: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)
