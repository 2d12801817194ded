"""What a service is told when it starts, and the limits it keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hilum.errors import ConfigError

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much of anything one client, or all of them together, may ask for."""

    bytes: int = 2**26  # of one film
    pixels: int = 50_000_000  # of one film
    films: int = 16  # in one request
    job_films: int = 1000  # in one job
    jobs: int = 16  # that are not done yet
    queue: int = 64  # films that wait or are being analysed, those of jobs not counted
    decode_seconds: int = 30
    decode_bytes: int = 2**31  # memory for decoding one film
    connections: int = 256
    recent_bytes: int = 2**28  # of reports kept in memory
    rate: int = 65_536  # bytes a second that a body must come with, after the first half minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One service. Raises ConfigError where it would not be safe."""

    data: Path  # folder for films, the database file and the audit log
    database: str = ""  # SQLAlchemy URL; empty: a SQLite file in `data`
    host: str = "127.0.0.1"
    port: int = 8000
    hosts: tuple[str, ...] = ()  # further names that clients may call the service by
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)  # name -> token
    keep_days: float = 30.0  # films are deleted after that
    decoders: int = 2  # processes
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and not self.tokens:
            raise ConfigError(
                f"--host {self.host}: others could reach the service, and it has no token; "
                "set HILUM_TOKEN or --token-file, or listen on 127.0.0.1"
            )
        if self.host in ("0.0.0.0", "::") and not self.hosts:  # noqa: S104
            raise ConfigError(
                f"--host {self.host}: say with --allow-host by which names clients call the service"
            )
        # Clients differ in how they put other characters into a header.
        if any(len(token) < 16 or not token.isascii() for token in self.tokens.values()):
            raise ConfigError(
                "a token of fewer than 16 characters, or not of ASCII; make one with: openssl rand -hex 32"
            )

    @property
    def allowed(self) -> frozenset[str]:
        """Lower-case host names that a request may be addressed to."""
        names = {*LOOPBACK, self.host, *self.hosts}
        return frozenset(name.lower().strip("[]") for name in names)
