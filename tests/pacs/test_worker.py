"""Whatever an archive does, each film's results are there once, or its reason is kept."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hilum.errors import ReadError
from hilum.pacs.archive import Archive
from hilum.pacs.faults import ArchiveError, TroubleError
from hilum.pacs.place import Place
from hilum.pacs.records import Settings
from hilum.pacs.worker import Worker
from hilum.types import Reason

Drain = Callable[..., Place]


def status(code: int) -> Callable[[Any], None]:
    return lambda handler: handler.answer(code, b"<html>HOFFMANN</html>", "text/html")


def broken(handler: Any) -> None:
    handler.answer(200, b"--xyz\r\n", 'multipart/related; boundary="xyz"', Content_Length="4000")
    handler.close_connection = True


def hung_up(handler: Any) -> None:
    handler.close_connection = True


def elsewhere(handler: Any) -> None:
    handler.answer(302, b"", Location="http://192.0.2.1/films")


def test_every_film_gets_its_three_results(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace
) -> None:
    for seed in range(4):
        server.archive.add(tools.dicom(seed))
    with drain() as place:
        assert place.counts() == {"queued": 0, "done": 4, "refused": 0, "failed": 0}
    assert len(server.archive.results()) == 12
    assert Counter(server.archive.posted).most_common(1)[0][1] == 1


def test_a_second_run_stores_nothing_and_takes_no_result_for_a_film(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace
) -> None:
    server.archive.add(tools.dicom(0))
    drain().close()
    again = server.archive.add(tools.dicom(1))
    with drain() as place:
        assert place.counts()["done"] == 2
    assert len(server.archive.posted) == 6
    assert sum(again in path for kind, path in server.archive.asked if kind == "fetch") == 1


def test_a_film_that_is_told_twice_or_sent_again_is_analysed_once(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace
) -> None:
    uid = server.archive.add(tools.dicom(0))
    server.archive.order.append(uid)
    drain().close()
    server.archive.order.append(uid)
    drain().close()
    assert len(server.archive.posted) == 3


@pytest.mark.parametrize(
    "fault",
    [
        status(500),
        status(404),
        broken,
        hung_up,
        elsewhere,
        lambda handler: handler.film(b"x" * 300, cut=12),
        lambda handler: handler.film(b"one", b"two"),
        lambda handler: handler.film(b"one", kind="text/html"),
        lambda handler: handler.answer(
            200, b"\x1f\x8b", "multipart/related; boundary=xyz", Content_Encoding="gzip"
        ),
    ],
    ids=["500", "404", "truncated", "hung up", "redirect", "cut", "two films", "html", "gzip"],
)
def test_a_film_that_comes_badly_is_fetched_again(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace, fault: Callable[[Any], None]
) -> None:
    server.archive.add(tools.dicom(0))
    server.archive.faults["fetch"].append(fault)
    with drain() as place:
        assert place.counts()["done"] == 1
    assert len(server.archive.results()) == 3


def test_a_slow_answer_is_broken_off_and_asked_for_again(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace
) -> None:
    server.archive.add(tools.dicom(0))
    server.archive.faults["fetch"].append(lambda _: time.sleep(0.6))
    with drain(timeout=0.2) as place:
        assert place.counts()["done"] == 1


def test_another_film_than_was_asked_for_is_not_analysed(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace
) -> None:
    server.archive.add(tools.dicom(0))
    server.archive.always["fetch"] = lambda handler: handler.film(tools.dicom(1))
    with drain() as place:
        assert place.counts()["failed"] == 1
        assert "another film" in place.troubled(9)[0].reason
    assert not server.archive.posted


def test_a_poison_film_is_given_up_with_its_reason_and_the_others_are_done(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace
) -> None:
    poison = server.archive.add(tools.dicom(0))
    server.archive.add(tools.dicom(1))

    def analyse(data: bytes) -> Any:
        if poison.encode() in data:
            raise TroubleError("its decoder crashed (signal 11)")
        return tools.analyse(data)

    with drain(analyse) as place:
        assert place.counts() == {"queued": 0, "done": 1, "refused": 0, "failed": 1}
        row = place.troubled(9)[0]
        assert (row.sop, row.attempts, row.reason) == (poison, 3, "its decoder crashed (signal 11)")


def test_an_error_nobody_thought_of_is_told_by_its_kind_alone(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    server.archive.add(tools.dicom(0))

    def analyse(_: bytes) -> Any:
        raise KeyError(tools.PATIENT)

    with caplog.at_level(logging.INFO), drain(analyse) as place:
        assert place.troubled(9)[0].reason == "could not be analysed (KeyError)"
    assert tools.PATIENT not in caplog.text


def test_a_film_over_which_the_worker_died_each_time_is_given_up(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace
) -> None:
    uid = server.archive.add(tools.dicom(0))

    def die(_: bytes) -> Any:
        raise SystemExit  # past every `except Exception`, as a kill is

    for _ in range(3):
        with pytest.raises(SystemExit):
            drain(die)
    with drain() as place:
        assert place.troubled(9)[0].reason == "the worker crashed on it 3 times"
    assert uid not in server.archive.posted


def test_a_film_that_cannot_be_read_or_is_too_large_is_refused_at_once(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace
) -> None:
    bad = server.archive.add(tools.dicom(0, Rows=0))
    large = server.archive.add(tools.dicom(1, ImageComments="x" * 9000))
    with drain(limit=9000) as place:
        rows = {row.sop: row for row in place.troubled(9)}
    assert rows[bad].state == rows[large].state == "refused"
    assert "rows" in rows[bad].reason
    assert "larger than the limit" in rows[large].reason
    assert rows[bad].attempts == 1


def test_what_is_no_chest_film_is_refused_unfetched_and_other_images_are_passed_over(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace
) -> None:
    hand = server.archive.add(tools.dicom(0, BodyPartExamined="HAND"))
    raw = server.archive.add(tools.dicom(1, SOPClassUID="1.2.840.10008.5.1.4.1.1.1.1.1", Modality="DX"))
    server.archive.add(tools.dicom(2, SOPClassUID=tools.SC))
    with drain() as place:
        assert {row.sop for row in place.troubled(9)} == {hand, raw}
        assert place.counts()["refused"] == 2
    assert not [path for kind, path in server.archive.asked if kind == "fetch"]


def test_an_archive_that_is_away_costs_no_film_an_attempt(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace
) -> None:
    server.archive.add(tools.dicom(0))
    server.archive.faults["fetch"].extend([status(503)] * 3)
    server.archive.faults["ping"].extend([status(503)] * 3)
    with drain(attempts=4) as place:
        assert place.counts()["done"] == 1
        (attempts,) = place._db.execute("SELECT attempts FROM films").fetchone()
    assert attempts == 1


def test_a_film_at_which_the_archive_falls_over_each_time_is_given_up(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace
) -> None:
    server.archive.add(tools.dicom(0))
    for _ in range(50):  # a film that is asked for, and then a ping that fails; searches in between succeed
        server.archive.faults["fetch"].append(hung_up)
        server.archive.faults["ping"].append(status(503))
    for _ in range(6):
        try:
            with drain() as place:
                assert place.counts()["failed"] == 1
                break
        except ArchiveError:
            continue
    else:
        pytest.fail("the film was never given up")
    assert len(server.archive.faults["fetch"]) >= 44


def test_what_the_header_calls_no_frontal_chest_film_gets_no_results(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace
) -> None:
    server.archive.add(tools.dicom(0))
    server.archive.add(tools.dicom(1))
    reasons = iter(["lateral", "turned"])

    def analyse(data: bytes) -> Any:
        reason = Reason(code=next(reasons), sentence="why; and what to do")
        return replace(tools.analyse(data), status="rejected", reasons=(reason,))

    with drain(analyse) as place:
        assert place.counts() == {"queued": 0, "done": 1, "refused": 1, "failed": 0}
        assert place.rejected() == 1
    assert len(server.archive.results()) == 3  # those that say that the film is turned


@pytest.mark.parametrize(
    ("code", "remedy"), [(503, "check whether it runs, and --url"), (401, "see --credentials")]
)
def test_an_archive_that_never_answers_ends_a_single_run_with_a_remedy(
    server: SimpleNamespace, drain: Drain, code: int, remedy: str
) -> None:
    server.archive.always["search"] = status(code)
    with pytest.raises(ArchiveError, match=f"status {code}; {remedy}"):
        drain()


STEPS = {
    "offer": Place,
    "begin": Place,
    "fetch": Archive,
    "has": Archive,
    "store": Archive,
    "stored": Place,
    "settle": Place,
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
def test_wherever_the_worker_is_killed_the_next_one_brings_it_to_the_same_end(
    server: SimpleNamespace,
    drain: Drain,
    tools: SimpleNamespace,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    when: str,
) -> None:
    for seed in range(3):
        server.archive.add(tools.dicom(seed))
    calls = iter(range(99))
    real = getattr(STEPS[step], step)

    def killed(*given: Any) -> Any:
        last = next(calls) == 1  # in the middle: one film, or one step, is past
        if last and when == "before":
            raise SystemExit  # past every `except Exception`, as a kill is
        answer = real(*given)
        if last:
            raise SystemExit
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(STEPS[step], step, killed)
        with pytest.raises(SystemExit):
            drain()
    with drain() as place:
        assert place.counts() == {"queued": 0, "done": 3, "refused": 0, "failed": 0}
        assert place._db.execute("SELECT count(*) FROM results").fetchone() == (9,)
    assert len(server.archive.results()) == 9
    assert len(server.archive.posted) == 9  # what was stored before the kill was found, and not sent again


def test_an_answer_that_was_lost_leads_to_no_second_copy(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace
) -> None:
    server.archive.add(tools.dicom(0))
    server.archive.faults["stored"].append(hung_up)
    with drain() as place:
        assert place.counts()["done"] == 1
    assert len(server.archive.posted) == 3


@pytest.mark.parametrize("said", [b"", b"<xml/>", b"[" * 100_000, b'{"00081199": 3}'])
def test_an_answer_that_tells_nothing_is_checked_by_a_search(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace, said: bytes
) -> None:
    server.archive.add(tools.dicom(0))
    server.archive.faults["stored"].append(lambda handler: handler.answer(200, said))
    with drain(attempts=1) as place:
        assert place.counts()["done"] == 1
    assert len(server.archive.posted) == 3


@pytest.mark.parametrize("forms", [("seg",), ("seg", "sr", "sc")], ids=["one of three", "all"])
def test_objects_that_the_archive_refuses_are_told_and_the_others_kept(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace, forms: tuple[str, ...]
) -> None:
    server.archive.add(tools.dicom(0))
    results = tools.make(tools.analyse(tools.dicom(0)))
    server.archive.refused = {one.sop: 0x0122 for one in results if one.form in forms}
    with drain() as place:
        row = place.troubled(9)[0]
    assert row.state == "failed"
    assert row.attempts == 1  # the same objects will not please it next time
    assert all(f"{form} (0122H)" in row.reason for form in forms)
    assert len(server.archive.results()) == 3 - len(forms)


def test_objects_for_which_the_archive_has_no_room_now_are_stored_later(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace
) -> None:
    server.archive.add(tools.dicom(0))
    seg, *others = tools.make(tools.analyse(tools.dicom(0)))
    server.archive.refused = {seg.sop: 0xA700}
    server.archive.faults["ping"].append(
        lambda handler: (server.archive.refused.clear(), status(200)(handler))
    )
    with drain() as place:
        assert place.counts()["done"] == 1
    assert Counter(server.archive.posted) == {seg.sop: 2, others[0].sop: 1, others[1].sop: 1}


def test_films_that_were_given_up_can_be_queued_again(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace
) -> None:
    server.archive.add(tools.dicom(0))
    server.archive.always["fetch"] = status(500)
    with drain() as place:
        assert place.counts()["failed"] == 1
        assert place.again() == 1
    server.archive.always.clear()
    with drain() as place:
        assert place.counts()["done"] == 1


def test_a_stop_brings_the_film_in_hand_to_its_end_and_leaves_the_rest_queued(
    server: SimpleNamespace, settings: Settings, tmp_path: Path, tools: SimpleNamespace
) -> None:
    for seed in range(3):
        server.archive.add(tools.dicom(seed))
    stop = threading.Event()

    def analyse(data: bytes) -> Any:
        stop.set()
        return tools.analyse(data)

    with Place(tmp_path / "place.sqlite", own=True) as place:
        Worker(settings, place, analyse, tools.make, stop=stop, rng=random.Random(7)).run(once=False)
        assert place.counts() == {"queued": 2, "done": 1, "refused": 0, "failed": 0}
        attempts = [
            count for (count,) in place._db.execute("SELECT attempts FROM films WHERE state = 'queued'")
        ]
    assert attempts == [0, 0]
    assert len(server.archive.results()) == 3


def test_after_a_stop_an_archive_that_drips_is_not_waited_for(
    server: SimpleNamespace, settings: Settings, tmp_path: Path, tools: SimpleNamespace
) -> None:
    server.archive.add(tools.dicom(0))
    stop = threading.Event()

    def analyse(data: bytes) -> Any:
        stop.set()
        return tools.analyse(data)

    def drip(handler: Any) -> None:
        handler.send_response(200)
        handler.end_headers()
        for _ in range(500):
            handler.wfile.write(b" ")
            time.sleep(0.01)

    server.archive.always["has"] = drip
    chosen = replace(settings, timeout=0.5)
    with Place(tmp_path / "place.sqlite", own=True) as place:
        start = time.monotonic()
        Worker(chosen, place, analyse, tools.make, stop=stop, rng=random.Random(7)).run(once=False)
        assert time.monotonic() - start < 2  # any other time, ten times the timeout
        assert place.counts()["queued"] == 1
        assert place.begin(place.due(1)[0].sop) == 1  # the attempt was not the film's


def test_the_log_names_no_patient_and_no_identifier(
    server: SimpleNamespace, drain: Drain, tools: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    uids = [server.archive.add(tools.dicom(seed)) for seed in range(3)]
    server.archive.faults["fetch"].extend([status(500), hung_up, elsewhere])

    def analyse(data: bytes) -> Any:
        if uids[2].encode() in data:
            raise ReadError("<bytes>", "half a line\nevent=done film=000", "none")
        return tools.analyse(data)

    with caplog.at_level(logging.INFO, logger="hilum"):
        drain(analyse).close()
    text = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("hilum"))
    assert "event=done" in text
    assert "event=again" in text
    assert "\nevent=done film=000" not in text
    for secret in (tools.PATIENT, "4711", *uids, *(uid.rpartition(".")[2] for uid in uids)):
        assert secret not in text


def test_waiting_grows_and_differs_from_film_to_film(
    settings: Settings, tmp_path: Path, tools: SimpleNamespace
) -> None:
    with Place(tmp_path / "place.sqlite", own=True) as place:
        slow = Settings(url=settings.url, patience=2.0, longest=60.0)
        worker = Worker(slow, place, tools.analyse, tools.make, stop=threading.Event(), rng=random.Random(7))
        pauses = [[worker._pause(attempt) for _ in range(50)] for attempt in (1, 2, 3, 9, 5000)]
    for some, longest in zip(pauses, (2, 4, 8, 60, 60), strict=True):
        assert longest / 2 <= min(some) < max(some) <= longest
        assert len(set(some)) > 40
