"""A few seconds of what `make faults` does for an hour."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest

from hilum.reading.guarded import Decoder

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fuzz", ROOT / "tools" / "fuzz.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules["fuzz"] = importlib.util.module_from_spec(spec)  # its dataclass looks there
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")
def test_damaged_films_are_read_or_refused(fuzz: Any, tmp_path: Path) -> None:
    tally = fuzz.fuzz(5.0, 0, tmp_path / "kept", tell=lambda _: None)
    assert tally.failed == 0, tally.kept
    assert tally.counts["read"] > 5 and tally.counts["refused"] > 5


@pytest.mark.filterwarnings("ignore")
def test_the_same_seed_damages_alike_and_nearly_always_something(fuzz: Any) -> None:
    corpus = fuzz.seeds()
    assert len({fuzz.uid.UID(name) for name in _syntaxes(corpus, fuzz)}) >= 12
    runs = [
        [fuzz.damaged(corpus[i], corpus[-i], chance) for i in range(1, 60)]
        for chance in (Random(5), Random(5))
    ]
    assert runs[0] == runs[1]
    assert sum(one == corpus[i] for i, one in enumerate(runs[0], 1)) < 12


def _syntaxes(corpus: list[bytes], fuzz: Any) -> set[str]:
    patterns = {name.decode(): re.escape(name) + rb"(?![.0-9])" for name in fuzz._SYNTAXES}
    return {name for name, one in patterns.items() for data in corpus if re.search(one, data[132:600])}


FAILURES = {
    "crashed": "os.abort()",
    "hung": "time.sleep(60)",
    "out of memory": "say({'error': {'reason': 'not enough memory', 'remedy': ''}, 'leaving': False})",
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_would_be_seen(
    name: str, fuzz: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = (
        "import json, os, struct, sys, time\n"
        "length, size = struct.unpack('>IQ', sys.stdin.buffer.read(12))\n"
        "sys.stdin.buffer.read(length + size)\n"
        "def say(document):\n"
        "    text = json.dumps(document).encode()\n"
        "    sys.stdout.buffer.write(struct.pack('>I', len(text)) + text)\n"
        "    sys.stdout.buffer.flush()\n"
    )
    monkeypatch.setattr("hilum.reading.guarded._STARTING", 0.5)
    command = [sys.executable, "-c", child + FAILURES[name]]
    monkeypatch.setattr(fuzz, "Decoder", lambda **_: Decoder(seconds=1, command=command))
    monkeypatch.setattr(fuzz, "seeds", lambda: [b"one"])
    tally = fuzz.fuzz(0.01, 0, tmp_path / "kept", tell=lambda _: None)
    assert tally.failed == tally.counts[name] == 1
    assert [path.read_bytes() for path in (tmp_path / "kept").iterdir()] == [b"one"]
