"""Import every module of the installed Hilum; print those that need an extra, and which.

Run it in the light install. Any error other than MissingExtraError ends it.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

import hilum
from hilum.errors import MissingExtraError


def main() -> None:
    def passed_over(_: str) -> None:
        """Ignored: the import of the package itself has reported what is missing."""

    for module in pkgutil.walk_packages(hilum.__path__, "hilum.", onerror=passed_over):
        try:
            import_module(module.name)
        except MissingExtraError as error:
            print(f"{module.name}: {error}")


main()
