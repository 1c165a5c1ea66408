"""What must not be read from a stolen database: stored secrets are encrypted, tokens and passwords hashed."""

import hashlib
import hmac
import re
import secrets
import string
import zlib
from contextlib import suppress
from typing import Any

import argon2
import orjson
from cryptography.fernet import Fernet, InvalidToken

from models.errors import Precondition

ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
TOKEN_LENGTH = 32  # characters of base62: 190 bits
CHECK_LENGTH = 6
NO_KEYS = "TURNSTONE_SECRET_KEYS is not set."
_SHAPE = re.compile(rf"ts_[a-z]+_[0-9A-Za-z]{{{TOKEN_LENGTH}}}_[0-9A-Za-z]{{{CHECK_LENGTH}}}")

_passwords = argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)
# Verified against when there is no such user, so that the answer takes as long.
_NOBODY = _passwords.hash(secrets.token_urlsafe())


class SecretUnreadable(Precondition):
    """No configured key opens a stored secret: a key was removed from the settings too early."""

    default_message = "A stored secret cannot be decrypted with the configured secret keys."


class Cipher:
    """Encrypts with the newest key, decrypts with any: `keys` are Fernet keys, comma-separated, newest first.

    What is stored begins with the id of its key, so that it can be said which secrets are still under which.
    """

    def __init__(self, keys: str) -> None:
        """Raises ValueError for a key that is not a Fernet key."""
        named = [key.strip() for key in keys.split(",") if key.strip()]
        self._keys = {key_id(key): Fernet(key) for key in named}
        self._marks = [hashlib.sha256(b"fingerprint " + key.encode()).digest() for key in named] or [b""]

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys, the one that encrypts first."""
        return tuple(self._keys)

    def encrypt(self, plain: str) -> str:
        """The ciphertext to store; raises Precondition without a key."""
        return self._sealed(plain.encode())

    def decrypt(self, stored: str) -> str:
        """The secret; raises SecretUnreadable."""
        return self._opened(stored).decode()

    def rotate(self, stored: str) -> str:
        """The same secret under the newest key; raises SecretUnreadable."""
        return self._sealed(self._opened(stored))

    def _sealed(self, plain: bytes) -> str:
        for name, key in self._keys.items():
            return f"{name}:{key.encrypt(plain).decode()}"
        raise Precondition("Secrets cannot be stored.", NO_KEYS)

    def _opened(self, stored: str) -> bytes:
        if not self._keys:
            raise Precondition("Secrets cannot be stored.", NO_KEYS)
        name, named, ciphertext = stored.rpartition(":")
        if named and name not in self._keys:
            raise SecretUnreadable(detail=f"It is under the key {name}, which is not among TURNSTONE_SECRET_KEYS.")
        # What has no id was stored before there were any: under some key.
        fitting = [self._keys[name]] if named else [*self._keys.values()]
        for key in fitting:
            with suppress(InvalidToken):
                return key.decrypt(ciphertext)
        raise SecretUnreadable

    def fingerprints(self, data: bytes) -> list[bytes]:
        """Digests that tell nothing without a key, by each key, newest first: what they are of may hold a password."""
        return [hmac.digest(mark, data, "sha256") for mark in self._marks]

    def encrypt_document(self, document: dict[str, Any] | None) -> str | None:
        return None if document is None else self.encrypt(orjson.dumps(document).decode())

    def decrypt_document(self, stored: str | None) -> dict[str, Any]:
        """The stored JSON object, empty where there is none."""
        return {} if stored is None else orjson.loads(self.decrypt(stored))


def key_id(key: str) -> str:
    """The id by which people and stored secrets name a key; it tells nothing about the key."""
    return hashlib.sha256(b"id " + key.encode()).hexdigest()[:8]


def mask(secret: str) -> str:
    """What may be shown of a secret: enough to recognise it, too little to guess it."""
    if len(secret) < 16:
        return "..."
    return f"{secret[:4]}...{secret[-4:]}"


def _checksum(text: str) -> str:
    number, digits = zlib.crc32(text.encode()), ""
    for _ in range(CHECK_LENGTH):
        number, rest = divmod(number, 62)
        digits = ALPHABET[rest] + digits
    return digits


def random_word(length: int) -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def new_token(kind: str) -> str:
    """A token `ts_<kind>_<random>_<crc>`; kind is `session` or `token`."""
    body = f"ts_{kind}_{random_word(TOKEN_LENGTH)}"
    return f"{body}_{_checksum(body)}"


def plausible(token: str) -> bool:
    """False for a token of ours with a typo, which needs no look-up; true for any other text.

    Other text may be an operator's own TURNSTONE_ADMIN_TOKEN.
    """
    if not token or len(token) > 512:
        return False
    if _SHAPE.fullmatch(token) is None:
        return True
    body, _, check = token.rpartition("_")
    return secrets.compare_digest(_checksum(body), check)


def digest(token: str) -> bytes:
    """What is stored of a token: with 190 random bits a plain hash cannot be turned round."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def hash_password(password: str) -> str:
    """Slow on purpose: call it in a thread."""
    return _passwords.hash(password)


def check_password(stored: str | None, password: str) -> bool:
    """Is this the password? Takes as long without a stored one. Slow on purpose: call it in a thread."""
    try:
        _passwords.verify(stored or _NOBODY, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False
    return bool(stored)
