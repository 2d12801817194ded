"""Optional parts of Hilum, asked for before they are imported: what is missing comes with its remedy."""

from __future__ import annotations

from importlib.util import find_spec

from hilum.errors import MissingExtraError


def needs(what: str, extra: str, *packages: str) -> None:
    """Raises MissingExtraError where one of the packages that `what` needs is not installed."""
    if not all(installed(package) for package in packages):
        raise MissingExtraError(what, extra)


def installed(package: str) -> bool:
    """Whether a package can be imported, without doing so."""
    try:
        return find_spec(package) is not None
    except (
        ModuleNotFoundError,
        ValueError,
    ):  # a finder's own word for it, or a package blanked in sys.modules
        return False
