"""Reads TOML files that users write; errors name the file and the place."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from hilum.card import Strict
from hilum.errors import ConfigError


def read_toml(path: Path) -> dict[str, Any]:
    """The TOML file as a dictionary; raises ConfigError naming the file and line."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; give the path of a TOML file") from None
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}; give the path of a TOML file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}; see configs/ for examples") from None


_Plan = TypeVar("_Plan", bound=Strict)


def read_plan(kind: type[_Plan], path: Path, *, examples: str) -> _Plan:
    """Read a plan from a TOML file; its default name is the file's. Raises ConfigError.

    `examples` says where examples of such a file are.
    """
    try:
        return kind.model_validate({"name": path.stem, **read_toml(path)})
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise ConfigError(f"{path}: {wrong}; {examples}") from None
