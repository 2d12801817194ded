"""Build dist/ and test it: two identical builds, valid metadata, a wheel that works in a clean environment.

Each line names a check and its result; the first failure ends the program. dist/ also gets SHA256SUMS and
hilum.cdx.json, the SBOM of the light install (CycloneDX).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
MOST = 40 * 2**20  # bytes of the wheel
PINS = ["--no-require-hashes", "-c", str(ROOT / "constraints.txt"), "-c", str(ROOT / "requirements.lock")]

# A user's program, for a strict type checker.
PROGRAM = """
from pathlib import Path

import hilum


def probability(film: Path, label: str) -> float | None:
    report: hilum.Report = hilum.load()(film)
    report.save(film.with_suffix(".html"))
    prediction: hilum.Prediction | None = report.prediction
    return None if prediction is None else prediction[label].probability


def refused(film: bytes) -> str:
    try:
        hilum.read(film)
    except hilum.ReadError as error:
        return error.remedy
    return ""


reveal_type(hilum.read("a.png").pixels)
reveal_type(probability(Path("a.png"), "Edema"))
"""


def run(*command: str | Path, folder: Path = ROOT, **environment: str) -> str:
    """The output of the command; if the command fails, this program ends."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(out: Path) -> None:
    """Build wheel and sdist of the git index in a separate folder."""
    moment = run("git", "log", "-1", "--format=%ct").strip()
    with tempfile.TemporaryDirectory() as folder:
        run("git", "checkout-index", "--all", f"--prefix={folder}/")
        command = (sys.executable, "-m", "build", "--no-isolation", "--outdir", out)
        run(*command, folder=Path(folder), SOURCE_DATE_EPOCH=moment)


def sums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def installed(wheel: Path, folder: Path) -> Path:
    """The Python of an environment that has only the wheel and its dependencies."""
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *PINS, wheel)
    (where,) = folder.rglob("hilum-*.dist-info/direct_url.json")
    where.unlink()  # it has a path of this machine, which would get into the SBOM
    return python


def tried(wheel: Path) -> None:
    """Test the wheel in the light install: self-test, imports, types; write the SBOM."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = installed(wheel, folder / "light")
        print(run(folder / "light/bin/hilum", "selftest", folder=folder).splitlines()[-1])
        told = run(python, ROOT / "tools/modules.py", folder=folder).splitlines()
        print(f"every module imports, or names the missing extra ({len(told)} modules)")
        (folder / "program.py").write_text(PROGRAM, encoding="utf-8")
        checker = (
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--python-executable",
            python,
            "--cache-dir",
            os.devnull,
        )
        types = run(*checker, "program.py", folder=folder)
        if "ndarray" not in types or "float | None" not in types:
            raise SystemExit(f"the type checker does not see the types of Hilum:\n{types}")
        print(types.splitlines()[-1] + " in a user's program, mypy --strict")
        parts = DIST / "hilum.cdx.json"
        run("cyclonedx-py", "environment", python, "--output-reproducible", "--of", "JSON", "-o", parts)
        print(f"{parts.name}: {len(json.loads(parts.read_bytes())['components'])} components")


def main() -> None:
    os.environ["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    shutil.rmtree(DIST, ignore_errors=True)
    with tempfile.TemporaryDirectory() as again:
        build(DIST)
        build(Path(again))
        if sums(DIST) != sums(Path(again)):
            raise SystemExit(f"two builds differ:\n{sums(DIST)}\n{sums(Path(again))}")
    made = sums(DIST)
    for name, digest in made.items():
        print(f"{digest}  {name}  {(DIST / name).stat().st_size / 2**20:.1f} MB, same in both builds")
    (wheel,) = DIST.glob("*.whl")
    if wheel.stat().st_size > MOST:
        raise SystemExit(f"{wheel.name}: more than {MOST} bytes; remove files from the wheel")
    names = ZipFile(wheel).namelist()
    for part in ("hilum/py.typed", "hilum/golden/golden.json", "hilum/weights/hilum-six/model.onnx"):
        if part not in names:
            raise SystemExit(f"{wheel.name}: {part} is missing")
    run(sys.executable, "-m", "twine", "check", "--strict", *(DIST / name for name in made))
    print("twine check: passed")
    tried(wheel)
    lines = [f"{digest}  {name}\n" for name, digest in sums(DIST).items()]
    (DIST / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
