"""A browser and its push service: takes what is pushed over HTTP, checks who signed it, and reads it as a browser."""

import base64
import json
import os
import time
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.fakes.receiver import Received, Receiver

CURVE = ec.SECP256R1()


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt, info).derive(secret)


@dataclass
class Browser(Receiver):
    """`endpoint`, `p256dh_key` and `auth_key` are what it subscribes with; use as a block."""

    path: str = "/send/a-secret-place"
    _pair: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(CURVE))
    _auth: bytes = field(default_factory=lambda: os.urandom(16))

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}{self.path}"

    @property
    def p256dh_key(self) -> str:
        return encoded(self._point)

    @property
    def auth_key(self) -> str:
        return encoded(self._auth)

    @property
    def subscription(self) -> dict[str, str]:
        return {"endpoint": self.endpoint, "p256dh_key": self.p256dh_key, "auth_key": self.auth_key}

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The notifications that its owner sees."""
        return [self.read(each) for each in self.received]

    def read(self, received: Received) -> dict[str, Any]:
        """What was encrypted for it, as RFC 8291 has user agents read it."""
        assert received.headers["content-encoding"] == "aes128gcm"
        salt, size, length = received.body[:16], int.from_bytes(received.body[16:20], "big"), received.body[20]
        theirs, sealed = received.body[21 : 21 + length], received.body[21 + length :]
        assert len(sealed) <= size == 4096
        shared = self._pair.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, theirs))
        secret = derived(shared, self._auth, b"WebPush: info\0" + self._point + theirs, 32)
        key = derived(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
        plain = AESGCM(key).decrypt(derived(secret, salt, b"Content-Encoding: nonce\0", 12), sealed, None)
        assert plain.rstrip(b"\0").endswith(b"\x02")
        read: dict[str, Any] = json.loads(plain.rstrip(b"\0")[:-1])
        return read

    def signed_by(self, received: Received) -> tuple[str, dict[str, Any]]:
        """The public key of whoever sent it, and what they claim (RFC 8292); raises unless they have signed it."""
        scheme, _, parameters = received.headers["authorization"].partition(" ")
        assert scheme == "vapid"
        given = dict(each.strip().split("=", 1) for each in parameters.split(","))
        point = decoded(given["k"])
        key = ECKey.import_key({"kty": "EC", "crv": "P-256", "x": encoded(point[1:33]), "y": encoded(point[33:])})
        claims = jwt.decode(given["t"], key, algorithms=["ES256"]).claims
        assert claims["aud"] == f"http://127.0.0.1:{self.port}"
        assert time.time() < claims["exp"] <= time.time() + 24 * 3600
        return given["k"], claims

    @property
    def _point(self) -> bytes:
        return self._pair.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
