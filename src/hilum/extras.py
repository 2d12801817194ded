"""Checks that optional packages are installed before they are imported, and names the extra to install."""

from __future__ import annotations

from importlib.util import find_spec

from hilum.errors import MissingExtraError


def needs(what: str, extra: str, *packages: str) -> None:
    """Raise MissingExtraError if one of the packages that `what` needs is not installed."""
    if not all(installed(package) for package in packages):
        raise MissingExtraError(what, extra)


def installed(package: str) -> bool:
    """Whether a package can be imported; does not import it."""
    try:
        return find_spec(package) is not None
    except (
        ModuleNotFoundError,
        ValueError,
    ):  # a custom finder raised it, or the package is None in sys.modules
        return False
