"""New films are found however the archive tells of them, and nothing twice."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from types import SimpleNamespace

import pytest

from hilum.pacs.archive import Archive
from hilum.pacs.faults import AwayError, TroubleError
from hilum.pacs.feeds import Changes, Search, film, orthanc
from hilum.pacs.place import Place
from hilum.pacs.records import Film, Settings
from hilum.pacs.watch import Watch

TODAY = date(2026, 3, 10)


class Taken:
    """What a feed offers, and the place it keeps."""

    def __init__(self) -> None:
        self.films: list[str] = []
        self.marks: dict[str, str] = {}

    def __call__(self, films: Sequence[Film], marks: Mapping[str, str]) -> None:
        self.films += [one.sop for one in films]
        self.marks |= marks


@pytest.fixture
def taken() -> Taken:
    return Taken()


ITEM = {
    "SOPClassUID": "1.2.840.10008.5.1.4.1.1.1",
    "SOPInstanceUID": "1.4",
    "SeriesInstanceUID": "1.3",
    "StudyInstanceUID": "1.2",
    "StudyDate": "20260309",
}


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({}, ""),
        ({"BodyPartExamined": "chest pa"}, ""),
        ({"BodyPartExamined": "KNEE"}, "the header names another body part than the chest"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1"}, ""),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.1.1"}, "an image for processing"),
        ({"StudyDate": "2026.03.09"}, ""),
        ({"StudyDate": ""}, ""),
    ],
)
def test_a_film_is_taken_or_refused_by_its_header(changes: dict[str, str], refusal: str) -> None:
    found = film(ITEM | changes, date(2026, 3, 8))
    assert found is not None
    assert found.refusal.startswith(refusal) and bool(found.refusal) == bool(refusal)


def test_uids_may_be_padded_and_have_leading_zeros(settings: Settings) -> None:
    found = film(ITEM | {"SOPInstanceUID": "1.04\0", "StudyInstanceUID": "1.002 "}, None)
    assert found is not None
    assert (found.sop, found.study) == ("1.04", "1.002")
    assert not Archive(settings).has(found.study, found.sop)


def test_an_instance_without_proper_uids_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        for _ in range(3):
            assert film(ITEM | {"SOPInstanceUID": "PATIENT^NAME"}, None) is None
    assert [record.getMessage().split()[0] for record in caplog.records] == ["event=unusable"]
    assert "PATIENT" not in caplog.text


@pytest.mark.parametrize(
    "changes",
    [
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.66.4"},
        {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"},
        {"StudyDate": "20260307"},
        {"SOPInstanceUID": "1.4/../../x"},
        {"SeriesInstanceUID": "1." * 40 + "1"},
        {"StudyInstanceUID": "\u0661.\u0662"},  # digits, but not ASCII's
    ],
)
def test_what_is_no_new_film_is_passed_over(changes: dict[str, str]) -> None:
    assert film(ITEM | changes, date(2026, 3, 8)) is None


def test_a_search_reads_all_pages_however_short_they_are(
    server: SimpleNamespace, settings: Settings, tools: SimpleNamespace, taken: Taken
) -> None:
    uids = [server.archive.add(tools.dicom(n, Modality="CR" if n % 2 else "DX")) for n in range(7)]
    server.archive.page = 2
    Search(Archive(settings), 0).look(taken, {}, TODAY)
    assert sorted(taken.films) == sorted(uids)
    assert taken.marks == {"searched": "2026-03-10"}


def test_a_search_of_an_archive_that_knows_no_offset_ends(
    server: SimpleNamespace, settings: Settings, tools: SimpleNamespace, taken: Taken
) -> None:
    uid = server.archive.add(tools.dicom(0))
    answer = f'[{{"00080018": {{"Value": ["{uid}"]}}}}]'.encode()
    server.archive.always["search"] = lambda handler: handler.answer(200, answer, "application/json")
    Search(Archive(settings), 0).look(taken, {}, TODAY)
    assert len(server.archive.asked) == 4  # two for each modality


def test_a_search_looks_back_from_the_last_one_after_a_long_absence(
    server: SimpleNamespace, settings: Settings, tools: SimpleNamespace, taken: Taken
) -> None:
    old = server.archive.add(tools.dicom(0, StudyDate="20260201"))
    new = server.archive.add(tools.dicom(1, StudyDate="20260308"))
    search = Search(Archive(settings), 3)
    search.look(taken, {}, TODAY)
    assert taken.films == [new]
    search.look(taken, {"searched": "2026-02-03"}, TODAY)
    assert taken.films == [new, old, new]


@pytest.mark.parametrize("answer", [b"<html>", b'["a"]', b"3", b"[" * 99_999, b'[{"00080018": 1}]x'])
def test_an_answer_to_a_search_that_is_none_is_trouble(
    server: SimpleNamespace, settings: Settings, taken: Taken, answer: bytes
) -> None:
    server.archive.always["search"] = lambda handler: handler.answer(200, answer, "application/json")
    with pytest.raises(TroubleError, match="not DICOM JSON"):
        Search(Archive(settings), 0).look(taken, {}, TODAY)


def test_an_orthanc_is_known_by_its_answer(server: SimpleNamespace, settings: Settings) -> None:
    assert orthanc(settings) is None  # status 404
    server.archive.orthanc = True
    root = settings.url.removesuffix("/dicom-web")
    assert orthanc(settings) == root
    assert orthanc(replace(settings, orthanc="no")) is None
    assert orthanc(replace(settings, orthanc=f"{root}/")) == root
    assert orthanc(replace(settings, url=f"{root}/wado")) is None
    server.archive.always["changes"] = lambda handler: handler.answer(200, b"<html>")
    assert orthanc(settings) is None
    server.archive.always["changes"] = lambda handler: handler.answer(503, b"")
    with pytest.raises(TroubleError):  # what is starting may be one
        orthanc(settings)


@pytest.fixture
def changes(server: SimpleNamespace, settings: Settings) -> Changes:
    server.archive.orthanc = True
    return Changes(settings, settings.url.removesuffix("/dicom-web"), lambda: False)


def test_changes_are_read_from_where_they_ended_and_results_left_out(
    server: SimpleNamespace, tools: SimpleNamespace, changes: Changes, taken: Taken
) -> None:
    server.archive.add(tools.dicom(0))
    assert not changes.look(taken, taken.marks, TODAY)  # the list is new to it: a search must follow
    assert taken.films == []
    uid = server.archive.add(tools.dicom(1))
    server.archive.add(tools.make(tools.analyse(tools.dicom(1)))[0].data)
    assert changes.look(taken, taken.marks, TODAY)
    assert taken.films == [uid]
    assert changes.look(taken, taken.marks, TODAY)
    assert taken.films == [uid]


def test_where_changes_are_told_a_search_is_made_at_first_and_when_they_fail(
    server: SimpleNamespace, settings: Settings, tools: SimpleNamespace, tmp_path: Path
) -> None:
    server.archive.orthanc = True
    server.archive.add(tools.dicom(0))

    def searches() -> int:
        made = sum(kind == "search" for kind, _ in server.archive.asked)
        server.archive.asked.clear()
        return made

    with Place(tmp_path / "place.sqlite", own=True) as place:
        watch = Watch(settings, place, lambda: False)
        assert watch.look() == 1
        assert searches() == 3  # a page of CR films, the empty one after it, and no DX film
        assert watch.look() == 0
        assert not server.archive.asked  # it is not time yet
        server.archive.add(tools.dicom(1))
        assert watch.look(at_once=True) == 1
        assert searches() == 0
        server.archive.always["changes"] = lambda handler: handler.answer(403, b"")
        server.archive.add(tools.dicom(2))
        assert watch.look(at_once=True) == 1
        assert searches() == 3
        watch.look(at_once=True)
        assert not [kind for kind, _ in server.archive.asked if kind == "changes"]  # shut for good
        server.archive.always["search"] = lambda handler: handler.answer(503, b"")
        with pytest.raises(AwayError, match="503"):
            watch.look(at_once=True)


def test_a_list_that_begins_anew_asks_for_a_search(
    server: SimpleNamespace, tools: SimpleNamespace, changes: Changes, taken: Taken
) -> None:
    taken.marks = {"changes": "500"}
    server.archive.add(tools.dicom(0))
    assert not changes.look(taken, taken.marks, TODAY)
    assert taken.marks == {"changes": "1"}


def test_an_instance_that_orthanc_cannot_tell_of_holds_up_nobody(
    server: SimpleNamespace, tools: SimpleNamespace, changes: Changes, taken: Taken
) -> None:
    taken.marks = {"changes": "0"}
    server.archive.add(tools.dicom(0))
    last = server.archive.add(tools.dicom(1))
    server.archive.faults["changes"].extend([None, None, lambda handler: handler.answer(500, b"")])
    assert not changes.look(taken, taken.marks, TODAY)  # a search must follow
    assert taken.films == [last]
    assert taken.marks == {"changes": "2"}


def test_a_stop_ends_a_long_list_of_changes(
    server: SimpleNamespace, settings: Settings, tools: SimpleNamespace, tmp_path: Path
) -> None:
    server.archive.orthanc = True
    stop = threading.Event()
    with Place(tmp_path / "place.sqlite", own=True) as place:
        watch = Watch(settings, place, stop.is_set)
        watch.look(at_once=True)
        for seed in range(9):
            server.archive.add(tools.dicom(seed))
        server.archive.faults["changes"].extend([None, None, lambda _: stop.set()])  # the first film
        with pytest.raises(AwayError, match="stopped"):
            watch.look(at_once=True)
        assert place.marks()["changes"] == "0"  # the next worker reads them again
    assert not server.archive.faults["changes"]
    assert server.archive.asked[-1][1].endswith("SopClassUid")
