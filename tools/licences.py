"""Check that all packages an installed Hilum needs, extras included, have permissive licences.

`python tools/licences.py` prints package, version, licence and extras from the installed metadata.
"""

from __future__ import annotations

import re
import sys
from collections import deque
from importlib.metadata import Distribution, PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

# SPDX names, and those that older packages use in classifiers and fields.
PERMISSIVE = re.compile(
    r"\b(Apache|MIT|BSD|0BSD|ISC|PSF|Python Software Foundation|HPND|Zlib|Unlicense|CC0)"
    r"|\b(MPL-2\.0|Mozilla Public License 2\.0)",  # its obligations cover only its own files
    re.IGNORECASE,
)
COPYLEFT = re.compile(
    r"\b(?:A|L)?GPL|General Public License|EUPL|SSPL|CC-BY-(?:NC|SA)|Commercial|Proprietary", re.I
)

# NVIDIA's libraries: torch installs them on machines with NVIDIA GPUs; the light install has none.
APART = re.compile(r"nvidia-|cuda-|triton$")


def licence(package: Distribution) -> str:
    """In one line: the SPDX expression, else the classifiers, else the licence field."""
    about = package.metadata
    if expression := about.get("License-Expression"):
        return str(expression)
    classified = [
        one.rpartition("::")[2].strip()
        for one in about.get_all("Classifier", [])
        if one.startswith("License ::") and not one.endswith("OSI Approved")
    ]
    field = (about.get("License") or "").strip().splitlines()
    return "; ".join(classified) or (field[0] if field else "") or "unknown"


def allowed(told: str) -> bool:
    """Whether a licence is permissive; of alternatives (OR), one must be."""
    choices = re.split(r"\bOR\b", told)
    return any(bool(PERMISSIVE.search(one)) and not COPYLEFT.search(one) for one in choices)


def needed(root: str) -> dict[str, set[str]]:
    """Installed package -> the extras of `root` that need it ("" for the light install)."""
    found: dict[str, set[str]] = {}
    extras = ["", *distribution(root).metadata.get_all("Provides-Extra", [])]
    for extra in extras:
        ahead = deque([(root, frozenset({extra}))])
        seen = set()
        while ahead:
            name, wanted = ahead.popleft()
            try:
                requires = distribution(name).requires or []
            except PackageNotFoundError:
                continue  # not on this platform, or not installed here
            found.setdefault(canonicalize_name(name), set()).add(extra)
            for one in map(Requirement, requires):
                if one.marker is None or any(
                    one.marker.evaluate({"extra": given}) for given in wanted | {""}
                ):
                    step = (canonicalize_name(one.name), frozenset(one.extras) | {""})
                    if step not in seen:
                        seen.add(step)
                        ahead.append(step)
    del found[canonicalize_name(root)]
    return found


def main() -> int:
    bad = []
    for name, extras in sorted(needed("hilum").items()):
        package = distribution(name)
        told = licence(package)
        print(
            f"{name:28}{package.version:20}{told[:60]:62}{'' if '' in extras else ', '.join(sorted(extras))}"
        )
        if not allowed(told) and not APART.match(name):
            bad.append(f"{name}: {told}")
    for line in bad:
        print(f"licence not permissive or unknown: {line}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main())
