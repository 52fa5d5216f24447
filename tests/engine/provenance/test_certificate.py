"""Keys and certificates: made once and kept private, or the user's own and fit to sign."""

import datetime
import errno
import os
import re
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from longtake.engine.provenance import certificate as certificates
from longtake.models.errors import InputError, OutputError
from pack import ROOT

NOW = datetime.datetime.now(datetime.timezone.utc)
DAY = datetime.timedelta(days=1)


@pytest.fixture(autouse=True)
def private():
    """Files of these tests are their user's alone, as keys have to be."""
    before = os.umask(0o077)
    yield
    os.umask(before)


def certificate(key, *, ca=False, usage=True, purpose=True, start=NOW - DAY, end=NOW + DAY) -> str:
    """A self-signed certificate as PEM, with or without what C2PA asks for."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    uses = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"), False
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder(name, name, key.public_key())
        .serial_number(7)
        .not_valid_before(start)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
    )
    if usage:
        builder = builder.add_extension(x509.KeyUsage(digital_signature=True, **uses), True)
    if purpose:
        emails = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
        builder = builder.add_extension(emails, False)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM).decode()


def pem(key, password: bytes | None = None, form="PKCS8") -> str:
    how = (
        serialization.BestAvailableEncryption(password)
        if password
        else serialization.NoEncryption()
    )
    kind = getattr(serialization.PrivateFormat, form)
    return key.private_bytes(serialization.Encoding.PEM, kind, how).decode()


def put(folder, chain: str, key: str) -> None:
    (folder / "certificate.pem").write_text(chain)
    (folder / "key.pem").write_text(key)


def test_one_is_made_on_first_use_and_kept(tmp_path):
    first = certificates.find_certificate(tmp_path / "new", {})
    assert certificates.find_certificate(tmp_path / "new", {}) == first
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["local.pem"]


@pytest.mark.skipif(os.name != "posix", reason="other systems have no such modes")
def test_nobody_else_may_read_it(tmp_path):
    folder = tmp_path / "new"
    certificates.find_certificate(folder, {})
    assert (folder / "local.pem").stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_made_one_lasts_ten_years_and_names_nobody():
    text = certificates.new_certificate()
    leaf, root = x509.load_pem_x509_certificates(text.encode())
    assert (leaf.not_valid_after_utc - NOW).days >= 3650
    leaf.verify_directly_issued_by(root)
    names = {part.value for name in (leaf.subject, root.subject) for part in name}
    assert names == {"Longtake", "Longtake local install", "Longtake on this computer"}
    assert text.count("PRIVATE KEY-----") == 2  # one key: the root's is gone


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (ec.generate_private_key(ec.SECP256R1()), "ES256"),
        (ec.generate_private_key(ec.SECP384R1()), "ES384"),
        (ed25519.Ed25519PrivateKey.generate(), "ED25519"),
    ],
    ids=str,
)
def test_ones_own_is_taken_from_the_folder(tmp_path, key, algorithm):
    put(tmp_path, certificate(key), pem(key))
    assert certificates.find_certificate(tmp_path, {}).algorithm == algorithm


def test_ones_own_is_taken_from_the_environment_with_any_kind_of_key_file(tmp_path):
    key = ec.generate_private_key(ec.SECP256R1())
    chain, secret = tmp_path / "chain.pem", tmp_path / "secret.pem"
    chain.write_text(certificate(key))
    names = {"LONGTAKE_CERTIFICATE": str(chain), "LONGTAKE_KEY": str(secret)}

    secret.write_text(pem(key, form="TraditionalOpenSSL"))
    opened = certificates.find_certificate(tmp_path, names).key
    assert opened == pem(key)
    secret.write_text(pem(key, b"open sesame"))
    assert certificates.find_certificate(
        tmp_path, {**names, "LONGTAKE_KEY_PASSWORD": "open sesame"}
    ).key == pem(key)
    with pytest.raises(InputError, match="LONGTAKE_KEY_PASSWORD"):
        certificates.find_certificate(tmp_path, names)
    with pytest.raises(InputError, match="set both"):
        certificates.find_certificate(tmp_path, {"LONGTAKE_KEY": str(secret)})


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ({"ca": True}, "the signer's own must come before"),
        ({"usage": False}, "not meant for signatures"),
        ({"purpose": False}, "no extended key usage"),
        ({"end": NOW - DAY / 2}, "it expired on"),
        ({"start": NOW + DAY / 2}, "is the clock right"),
    ],
)
def test_what_cannot_sign_is_reported_before(tmp_path, faults, message):
    key = ec.generate_private_key(ec.SECP256R1())
    put(tmp_path, certificate(key, **faults), pem(key))
    with pytest.raises(InputError, match=message):
        certificates.find_certificate(tmp_path, {})


def test_a_key_of_another_certificate_is_reported(tmp_path):
    one, other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    put(tmp_path, certificate(one), pem(other))
    with pytest.raises(InputError, match="belongs to another certificate"):
        certificates.find_certificate(tmp_path, {})


def test_files_that_are_no_pem_are_reported(tmp_path):
    put(tmp_path, "hello", "hello")
    with pytest.raises(InputError, match="no PEM certificate"):
        certificates.find_certificate(tmp_path, {})
    (tmp_path / "key.pem").unlink()
    with pytest.raises(InputError, match="key.pem cannot be read"):
        certificates.find_certificate(tmp_path, {})


def test_a_key_that_could_not_be_stored_whole_is_not_left_behind(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OutputError, match="No space left"):
        certificates.find_certificate(tmp_path, {})
    assert not list(tmp_path.iterdir())


def test_of_two_processes_that_make_one_the_quicker_wins(tmp_path, monkeypatch):
    """Both go on with the same one: what the quicker has signed stays its installation's own."""
    theirs, ours = certificates.new_certificate(), certificates.new_certificate()

    def meanwhile():
        (tmp_path / "local.pem").write_text(theirs)
        return ours

    monkeypatch.setattr(certificates, "new_certificate", meanwhile)
    assert certificates.find_certificate(tmp_path, {}).key in theirs
    assert [file.name for file in tmp_path.iterdir()] == ["local.pem"]


def test_ones_own_root_is_the_issuer_and_not_the_signer(tmp_path):
    signer = x509.load_pem_x509_certificate(
        certificates.find_certificate(tmp_path, {}).chain.encode()
    )
    root = x509.load_pem_x509_certificate(certificates.local_root(tmp_path).encode())
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    signer.verify_directly_issued_by(root)


def test_a_folder_that_takes_nothing_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be stored"):
        certificates.find_certificate(tmp_path / "file" / "folder", {})


def test_roots_to_trust_are_ones_own_and_those_in_a_file(tmp_path):
    assert certificates.trust_anchors(tmp_path) == certificates.local_root(tmp_path) == ""
    certificates.find_certificate(tmp_path, {})
    own = certificates.local_root(tmp_path)
    assert own.count("BEGIN CERTIFICATE") == 1
    assert "PRIVATE" not in certificates.trust_anchors(tmp_path)
    (tmp_path / "trusted.pem").write_text("more\n")
    assert certificates.trust_anchors(tmp_path) == own + "more\n"


@pytest.mark.parametrize("years", [-3, 11])
def test_of_one_that_was_made_under_a_wrong_clock_the_file_to_delete_is_named(
    tmp_path, monkeypatch, years
):
    certificates.find_certificate(tmp_path, {})
    now = certificates._now()
    monkeypatch.setattr(certificates, "_now", lambda: now + years * 365 * DAY)
    with pytest.raises(InputError, match=r"local\.pem cannot sign: .*\. Delete that file"):
        certificates.find_certificate(tmp_path, {})
    (tmp_path / "local.pem").unlink()
    assert certificates.find_certificate(tmp_path, {}).source.endswith("local.pem")


@pytest.mark.skipif(os.name != "posix", reason="modes of files are Unix's")
def test_a_key_that_others_may_read_is_refused(tmp_path):
    certificates.find_certificate(tmp_path, {})
    local = tmp_path / "local.pem"
    local.chmod(0o644)
    with pytest.raises(InputError, match=r"local.pem holds a private key, .* \(mode 644\): make"):
        certificates.find_certificate(tmp_path, {})
    local.chmod(0o600)
    assert certificates.find_certificate(tmp_path, {}).source == str(local)


def test_on_windows_folders_decide_who_may_read_a_key_and_the_pages_say_so(tmp_path, monkeypatch):
    """Modes mean nothing there: none is asked for, and no page says that a key is yours alone."""
    made = certificates.find_certificate(tmp_path, {})
    (tmp_path / "local.pem").chmod(0o666)
    monkeypatch.setattr(certificates, "os", SimpleNamespace(**{**vars(os), "name": "nt"}))
    assert certificates.find_certificate(tmp_path, {}) == made
    for page in ("SECURITY.md", "web/docs/LongtakeSaveVideo.md"):
        text = " ".join((ROOT / page).read_text(encoding="utf-8").split())
        assert re.search("on Windows:? (by )?whoever may read that folder", text), page
