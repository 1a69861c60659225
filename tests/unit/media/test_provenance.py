"""Signed statements in clips, with certificates made for the test."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from ltx2.clip import Clip
from ltx2.errors import ResourceError
from ltx2.media.decode import read_recipe
from ltx2.media.provenance import TRAINED_MEDIA, open_signer
from tests.builders import a_clip

c2pa = pytest.importorskip("c2pa", reason="c2pa-python is not installed")
pytest.importorskip("cryptography", reason="cryptography is not installed")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """Files of a chain that signs for e-mail protection, as C2PA asks, and of its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.now(UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [
        x509.Name(
            [
                x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Tests"),
                x509.NameAttribute(NameOID.COMMON_NAME, name),
            ]
        )
        for name in ("Root", "Signer")
    ]

    def made(number, *, is_authority):
        builder = (
            x509.CertificateBuilder()
            .subject_name(names[number])
            .issuer_name(names[0])
            .public_key(keys[number].public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=30))
            .add_extension(x509.BasicConstraints(is_authority, None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(keys[number].public_key()), False
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(keys[0].public_key()), False
            )
            .add_extension(
                x509.KeyUsage(
                    not is_authority, False, False, False, False, is_authority, False, False, False
                ),
                critical=True,
            )
        )
        if not is_authority:
            usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.EMAIL_PROTECTION])
            builder = builder.add_extension(usage, critical=False)
        return builder.sign(keys[0], hashes.SHA256())

    chain = [made(1, is_authority=False), made(0, is_authority=True)]
    folder = tmp_path_factory.mktemp("certificate")
    pem = serialization.Encoding.PEM
    (folder / "chain.pem").write_bytes(b"".join(link.public_bytes(pem) for link in chain))
    (folder / "key.pem").write_bytes(
        keys[1].private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return folder / "chain.pem", folder / "key.pem"


def test_a_signed_clip_says_that_a_model_made_it_and_keeps_its_recipe(certificate, tmp_path):
    clip = a_clip()
    path = clip.save(tmp_path / "clip.mp4")
    before = read_recipe(path)
    open_signer(*certificate)(path)
    with path.open("rb") as file, c2pa.Reader("video/mp4", file) as reader:
        store = json.loads(reader.json())
    manifest = store["manifests"][store["active_manifest"]]
    assert TRAINED_MEDIA in json.dumps(manifest["assertions"])
    # The test's own root is nobody's; that, and nothing else, is held against it.
    wrong = {status["code"] for status in store.get("validation_status", [])}
    assert wrong <= {"signingCredential.untrusted"}
    assert read_recipe(path) == before
    assert len(Clip.load(path).frames) == len(clip.frames)
    assert [item.name for item in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_file_that_was_changed_after_signing_is_found_out(certificate, tmp_path):
    path = a_clip().save(tmp_path / "clip.mp4")
    open_signer(*certificate)(path)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with path.open("rb") as file, c2pa.Reader("video/mp4", file) as reader:
        codes = {status["code"] for status in json.loads(reader.json())["validation_status"]}
    assert any("mismatch" in code for code in codes)


def test_a_certificate_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ResourceError, match="cannot be read"):
        open_signer(tmp_path / "no.pem", tmp_path / "no.key")


def test_what_is_no_certificate_is_told(tmp_path):
    (tmp_path / "a.pem").write_text("hello")
    with pytest.raises(ResourceError, match="cannot be used to sign"):
        open_signer(tmp_path / "a.pem", tmp_path / "a.pem")
