"""The audit log tells what happened, and the first line that somebody touched."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hilum.errors import ConfigError
from hilum.serve.audit import START, Audit, verify


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.jsonl"
    audit = Audit(path)
    for number in range(10):
        audit.append("analysed", who="ward", result=f"{number:032x}")
    audit.close()
    return path


def edited(log: Path, change: Callable[[list[bytes]], None]) -> None:
    lines = log.read_bytes().splitlines(keepends=True)
    change(lines)
    log.write_bytes(b"".join(lines))


def test_an_untouched_log_is_sound_to_its_last_line(log: Path) -> None:
    verdict = verify(log)
    assert verdict.broken is None and verdict.lines == 10
    assert verdict.last == hashlib.sha256(log.read_bytes().splitlines(keepends=True)[-1]).hexdigest()
    assert json.loads(log.read_text().splitlines()[0])["previous"] == START
    assert log.stat().st_mode & 0o077 == 0


def test_the_chain_goes_on_after_a_restart(log: Path) -> None:
    audit = Audit(log)
    audit.append("started")
    audit.close()
    assert verify(log) == verify(log)
    assert verify(log).lines == 11 and verify(log).broken is None


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (lambda lines: lines.__setitem__(3, lines[3].replace(b"ward", b"cook")), 5),
        (lambda lines: lines.pop(3), 4),
        (lambda lines: lines.pop(0), 1),
        (lambda lines: lines.insert(3, lines[2]), 4),
        (lambda lines: lines.__setitem__(slice(3, 5), [lines[4], lines[3]]), 4),
        (lambda lines: lines.__setitem__(3, b"not JSON\n"), 4),
        (lambda lines: lines.__setitem__(3, b"[1]\n"), 4),
        (lambda lines: lines.__setitem__(9, lines[9][:20]), 10),
        (lambda lines: lines.__setitem__(3, b"x" * 100_000 + b"\n"), 4),
    ],
)
def test_the_first_broken_line_is_told(log: Path, change: Callable[[list[bytes]], None], broken: int) -> None:
    edited(log, change)
    verdict = verify(log)
    assert verdict.broken == broken and verdict.why
    assert verdict.lines == broken - 1


def test_lines_cut_off_the_end_show_by_the_last_hash(log: Path) -> None:
    before = verify(log).last
    edited(log, lambda lines: lines.pop())
    assert verify(log).broken is None
    assert verify(log).last != before


def test_a_line_torn_by_a_power_failure_is_dropped_and_owned_up_to(log: Path) -> None:
    with log.open("ab") as file:
        file.write(b'{"previous":"abc","time":"2026')
    Audit(log).close()
    verdict = verify(log)
    assert verdict.broken is None and verdict.lines == 11
    assert json.loads(log.read_text().splitlines()[-1])["what"] == "dropped a torn line"


def test_a_log_that_takes_no_more_is_an_error_and_stays_whole(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    audit = Audit(log)
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:10]))
    with pytest.raises(OSError, match="audit log") as caught:
        audit.append("analysed")
    assert caught.value.errno == errno.ENOSPC, "the client is told that the disk is full"
    monkeypatch.undo()
    audit.append("analysed")
    audit.close()
    assert verify(log).broken is None and verify(log).lines == 11


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        verify(tmp_path / "none")
    with pytest.raises(ConfigError, match="--data"):
        Audit(tmp_path)


def test_everything_that_is_done_to_a_result_is_in_the_log(
    serve: Callable[..., Any], dicom: Callable[..., bytes]
) -> None:
    client = serve()
    id_ = client.predict(dicom())["id"]
    client.post("/v1/predict", content=b"GIF89a", headers={"Content-Type": "image/png"})
    for name in ("film.npy", "mask.npy", "evidence/Edema.npy", "report.html", "seg.dcm", "prior"):
        client.get(f"/v1/results/{id_}/{name}")
    client.get("/v1/results")
    client.delete(f"/v1/results/{id_}")
    path = client.service.settings.data / "audit.jsonl"
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert [entry["what"] for entry in entries] == [
        "started",
        "analysed",
        "refused a film",
        "read film",
        "read mask",
        "read evidence",
        "read report.html",
        "read seg.dcm",
        "listed priors",
        "listed",
        "deleted",
    ]
    assert all(entry["who"] == "anyone" for entry in entries[1:])
    assert {entry["result"] for entry in entries if "result" in entry} == {id_}
    assert verify(path).broken is None


def test_what_cannot_be_audited_is_not_done(
    serve: Callable[..., Any], dicom: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve()
    id_ = client.predict(dicom())["id"]

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(client.service.audit, "append", full)
    for answer in (client.get(f"/v1/results/{id_}"), client.get(f"/v1/results/{id_}/film.npy")):
        assert answer.status_code == 507
        assert "prediction" not in answer.json()
    answer = client.post("/v1/predict", content=dicom(), headers={"Content-Type": "application/dicom"})
    assert answer.status_code == 507
    assert client.delete(f"/v1/results/{id_}").status_code == 507
    monkeypatch.undo()
    assert client.get("/v1/results").json()["total"] == 1
