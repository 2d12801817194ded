"""Pseudonyms by keyed hash: without the key nobody can link or guess what they stand for."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import stat
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hilum.errors import ConfigError

_BYTES = 32  # of a key
_DIGITS = 20  # of a pseudonym: 80 bits, so that a billion pseudonyms do not collide


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A secret; its value never shows."""

    secret: bytes = field(repr=False)


def pseudonym(key: Key, kind: str, value: str) -> str:
    """20 hex digits for a value of a kind: HMAC-SHA-256, the same only with the same key."""
    return _hashed(key, kind, value).hex()[:_DIGITS]


def uid(key: Key, value: str) -> str:
    """A DICOM UID that replaces another, by the same hash."""
    # Made as from a random UUID (PS3.5 B.2), the 122 free bits from the hash.
    number = int.from_bytes(_hashed(key, "uid", value)[:16])
    number = number & ~(0xF << 76) | 4 << 76
    return f"2.25.{number & ~(0x3 << 62) | 2 << 62}"


def _hashed(key: Key, kind: str, value: str) -> bytes:
    return hmac.new(
        key.secret, f"{kind}\0{value}".encode("utf-8", "surrogateescape"), hashlib.sha256
    ).digest()


def default_key() -> Path:
    """The default file of a user's key."""
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(home) / "hilum" / "import.key"


def key_of(file: Path) -> Key:
    """The key in a file; a new file is made if there is none, readable by its owner only.

    Raises ConfigError if others may read it, or if it holds no key.
    """
    if not file.exists():
        _make(file)
    if os.name == "posix" and file.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigError("others than its owner may read the key file; chmod 600 it")
    try:
        secret = bytes.fromhex(file.read_text(encoding="ascii").strip())
    except ValueError:
        secret = b""
    if len(secret) < _BYTES:
        raise ConfigError(
            f"the key file holds no key ({_BYTES} bytes in hex); name another one, which is made if missing"
        )
    return Key(secret=secret)


def _make(file: Path) -> None:
    """Write a new key atomically, and never over one that another process has just made."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=file.parent, prefix=".key-")  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="ascii") as out:
            out.write(secrets.token_bytes(_BYTES).hex() + "\n")
            out.flush()
            os.fsync(out.fileno())
        try:
            os.link(draft, file)
        except FileExistsError:
            return
    finally:
        Path(draft).unlink(missing_ok=True)
