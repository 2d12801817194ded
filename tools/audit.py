"""Check the packages in requirements.lock for known vulnerabilities with pip-audit; fail if there are any.

pip-audit skips packages that its vulnerability service does not know, and a skip is not a pass. So a version
with a well-known vulnerability is checked first. If pip-audit does not find it, the result is "not run".
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

LOCK = Path(__file__).parents[1] / "requirements.lock"
KNOWN = "jinja2==3.1.2"  # CVE-2024-22195


def audit(requirements: Path) -> list[dict[str, Any]]:
    """The result of pip-audit for each pinned package; empty if it could not run."""
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--requirement",
        str(requirements),
        "--no-deps",
        "--disable-pip",
    ]
    command += ["--format", "json", "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
    try:
        found: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        return []
    return found


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        known = Path(folder) / "known.txt"
        known.write_text(KNOWN + "\n", encoding="utf-8")
        if not any(one.get("vulns") for one in audit(known)):
            print("pip-audit: not run, its vulnerability data cannot be reached")
            return 0
    found = audit(LOCK)
    skipped = [one["name"] for one in found if "skip_reason" in one]
    holes = [(one["name"], one["version"], hole["id"]) for one in found for hole in one.get("vulns", ())]
    print(f"pip-audit: {len(found) - len(skipped)} packages checked, {len(holes)} vulnerabilities")
    print(f"pip-audit: skipped as unknown: {', '.join(skipped) or 'none'}")
    for hole in holes:
        print(*hole, file=sys.stderr)
    return 1 if holes or not found else 0


if __name__ == "__main__":
    raise SystemExit(main())
