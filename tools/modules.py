"""Import every module of the installed Hilum; print those that need more than is installed, and what.

Run in the light install: any error but MissingExtraError ends it.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module

import hilum
from hilum.errors import MissingExtraError


def main() -> None:
    def passed_over(_: str) -> None:
        """What a package lacks, its own import has told."""

    for module in pkgutil.walk_packages(hilum.__path__, "hilum.", onerror=passed_over):
        try:
            import_module(module.name)
        except MissingExtraError as error:
            print(f"{module.name}: {error}")


main()
