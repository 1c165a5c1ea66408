"""A web push message as a push service takes it: encrypted for the browser (RFC 8291), signed by us (RFC 8292)."""

import os
import time
from datetime import timedelta
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from models.rules.push import decoded, encoded

RECORD_BYTES = 4096
SIGNED_FOR = timedelta(hours=12)
_CURVE = ec.SECP256R1()
_LAST = b"\x02"  # of a message's records, of which there is one


def encrypted(
    data: bytes, p256dh_key: str, auth_key: str, *, pair: ec.EllipticCurvePrivateKey | None = None, salt: bytes = b""
) -> bytes:
    """The body that only the browser with these keys can read. `pair` and `salt` are new ones unless given."""
    pair, salt = pair or ec.generate_private_key(_CURVE), salt or os.urandom(16)
    theirs, ours = decoded(p256dh_key), _point(pair.public_key())
    shared = pair.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, theirs))
    secret = _derived(shared, decoded(auth_key), b"WebPush: info\0" + theirs + ours, 32)
    key = _derived(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
    nonce = _derived(secret, salt, b"Content-Encoding: nonce\0", 12)
    header = salt + RECORD_BYTES.to_bytes(4, "big") + len(ours).to_bytes(1, "big") + ours
    return header + AESGCM(key).encrypt(nonce, data + _LAST, None)


def authorization(endpoint: str, private_key: str, public_key: str, contact: str) -> str:
    """The header that tells the push service who sends it; `contact` is whom its people may write to."""
    from joserfc import jwt
    from joserfc.jwk import ECKey

    point = decoded(public_key)
    key = ECKey.import_key(
        {"kty": "EC", "crv": "P-256", "x": encoded(point[1:33]), "y": encoded(point[33:]), "d": private_key}
    )
    where = urlsplit(endpoint)
    expires = int(time.time() + SIGNED_FOR.total_seconds())
    claims: dict[str, str | int] = {"aud": f"{where.scheme}://{where.netloc}", "exp": expires}
    if contact:
        claims["sub"] = contact
    return f"vapid t={jwt.encode({'typ': 'JWT', 'alg': 'ES256'}, claims, key)}, k={public_key}"


def _derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)


def _point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
