"""The settings and limits of a service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hilum.errors import ConfigError

LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one client, or all clients together, may use."""

    bytes: int = 2**26  # of one film
    pixels: int = 50_000_000  # of one film
    films: int = 16  # in one request
    job_films: int = 1000  # in one job
    jobs: int = 16  # not yet done, at a time
    queue: int = 64  # films waiting or being analysed, without those of jobs
    decode_seconds: int = 30
    decode_bytes: int = 2**31  # memory for decoding one film
    connections: int = 256
    recent_bytes: int = 2**28  # for reports kept in memory
    rate: int = 65_536  # lowest bytes per second of a request body, after the first half minute


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of one service. Raises ConfigError if they are not safe."""

    data: Path  # folder for films, database file and audit log
    database: str = ""  # SQLAlchemy URL; empty: an SQLite file in `data`
    host: str = "127.0.0.1"
    port: int = 8000
    hosts: tuple[str, ...] = ()  # additional host names that clients may use
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)  # name -> token
    keep_days: float = 30.0  # films are deleted after this time
    decoders: int = 2  # processes
    limits: Limits = Limits()

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK and not self.tokens:
            raise ConfigError(
                f"--host {self.host}: other machines could reach the service, but it has no token; "
                "set HILUM_TOKEN or --token-file, or listen on 127.0.0.1"
            )
        if self.host in ("0.0.0.0", "::") and not self.hosts:  # noqa: S104
            raise ConfigError(f"--host {self.host}: give the host names that clients use with --allow-host")
        # Clients encode other characters in a header differently.
        if any(len(token) < 16 or not token.isascii() for token in self.tokens.values()):
            raise ConfigError(
                "a token is shorter than 16 characters or not ASCII; make one with: openssl rand -hex 32"
            )

    @property
    def allowed(self) -> frozenset[str]:
        """The host names, in lower case, that a request may name."""
        names = {*LOOPBACK, self.host, *self.hosts}
        return frozenset(name.lower().strip("[]") for name in names)
