"""Content Credentials (C2PA): a signed statement inside the file that a machine made it.

Only where a certificate is configured, as a signature says who vouches for the clip; the tag of
`encode` says in every file that it is AI-generated. Needs the package `c2pa-python`.
"""

import importlib
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from ltx2.errors import MediaError, ResourceError
from ltx2.files import replaced

LIBRARY = "c2pa"

TRAINED_MEDIA = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""IPTC's word for media that a trained model made."""

ALGORITHM = "es256"
"""ECDSA on the curve P-256: what certificates for C2PA usually hold."""

MANIFEST = {
    "claim_generator_info": [{"name": "LTX-2 Workbench"}],
    "format": "video/mp4",
    "assertions": [
        {
            "label": "c2pa.actions.v2",
            "data": {"actions": [{"action": "c2pa.created", "digitalSourceType": TRAINED_MEDIA}]},
        }
    ],
}

Sign = Callable[[Path], None]
"""Puts a signed statement into a file."""


def open_signer(certificate: Path, key: Path) -> Sign:
    """Signs clips with a certificate, offline; nothing is asked of a time stamp authority.

    Args:
        certificate: PEM, the signing certificate first, then those above it.
        key: PEM, the private key of the first.

    Raises:
        ResourceError: the package is missing, or a file cannot be used.
    """
    library = _library()
    try:
        info = library.C2paSignerInfo(
            alg=ALGORITHM.encode(),
            sign_cert=certificate.read_bytes(),
            private_key=key.read_bytes(),
            ta_url=None,
        )
        signer = library.Signer.from_info(info)
    except OSError as error:
        raise ResourceError(
            f"The C2PA certificate or its key cannot be read ({error.strerror}).",
            next_step="Check LTX2_C2PA_CERTIFICATE and LTX2_C2PA_KEY.",
        ) from error
    except library.C2paError as error:
        raise ResourceError(
            "The C2PA certificate and its key cannot be used to sign.",
            next_step="Give a certificate chain and its key as PEM, on the curve P-256.",
        ) from error

    def sign(path: Path) -> None:
        try:
            with (
                library.Builder(json.dumps(MANIFEST)) as builder,
                replaced(path) as signed,
                path.open("rb") as source,
                signed.open("w+b") as target,
            ):
                builder.sign(signer, "video/mp4", source, target)
        except (OSError, library.C2paError) as error:
            raise MediaError(
                "The clip could not be signed.",
                next_step="Check the certificate's dates and purpose, and the room on the disk.",
            ) from error

    return sign


def _library() -> ModuleType:
    if importlib.util.find_spec(LIBRARY) is None:
        raise ResourceError(
            "A C2PA certificate is set, but the package c2pa-python is missing.",
            next_step="Install it with `pip install c2pa-python`, or unset the certificate.",
        )
    return importlib.import_module(LIBRARY)
