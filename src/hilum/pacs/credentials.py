"""The worker's login at the PACS: from the environment or a file, never from the command line."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path

from hilum.errors import ConfigError

USER, PASSWORD, TOKEN = "HILUM_PACS_USER", "HILUM_PACS_PASSWORD", "HILUM_PACS_TOKEN"

_KEYS = {"user": USER, "password": PASSWORD, "token": TOKEN}


def credentials(file: Path | None, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The headers that authenticate a request; none if no credentials are given.

    A file has lines ``user = NAME`` and ``password = WORD``, or ``token = TOKEN``. It replaces the
    environment's HILUM_PACS_USER, HILUM_PACS_PASSWORD and HILUM_PACS_TOKEN. Raises ConfigError, which never
    quotes a secret.
    """
    given = _read(file) if file else {name: environment.get(name, "") for name in _KEYS.values()}
    user, password, token = (given.get(name, "") for name in (USER, PASSWORD, TOKEN))
    where = str(file) if file else f"{USER}, {PASSWORD}, {TOKEN}"
    if token and (user or password):
        raise ConfigError(f"{where}: both a token and a user; give only one of them")
    if bool(user) != bool(password):
        raise ConfigError(f"{where}: a user without a password, or a password without a user; give both")
    if any(not mark.isprintable() for mark in user + password + token) or ":" in user:
        raise ConfigError(f"{where}: unprintable characters, or a colon in the user's name; correct them")
    if not token.isascii():  # no header could hold it (RFC 6750 2.1); user and password are base64-encoded
        raise ConfigError(f"{where}: a token with characters other than ASCII; copy it again")
    if token:
        return {"Authorization": f"Bearer {token}"}
    if user:
        coded = base64.b64encode(f"{user}:{password}".encode()).decode()  # RFC 7617
        return {"Authorization": f"Basic {coded}"}
    return {}


def _read(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({type(error).__name__}); check the path") from None
    given = {}
    for number, line in enumerate(lines, 1):
        name, equals, value = (part.strip() for part in line.partition("="))
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not equals or name not in _KEYS:
            raise ConfigError(f"{file}, line {number}: write user = NAME, password = WORD or token = TOKEN")
        given[_KEYS[name]] = value
    if not given:
        raise ConfigError(f"{file}: holds no credentials; write user = NAME and password = WORD")
    return given
