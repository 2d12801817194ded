"""The cache: each film is decoded once, and no stale or half-built cache is used."""

from __future__ import annotations

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from hilum.data import cache as module
from hilum.data import open_data
from hilum.data.cache import Cache, cached
from hilum.data.opened import attempt, decode
from hilum.errors import DataError, HilumError, StorageError
from hilum.reading.reader import read
from hilum.store import write_whole
from hilum.types import Array, Sample

PREAMBLE = """
import hashlib, os, signal, sys, time
from pathlib import Path
from hilum.data import cache as module, open_data
folder, name = Path(sys.argv[1]), sys.argv[2]

def build(**more):
    made = module.cached(open_data(name), 64, folder, **more)
    return hashlib.sha256(made.films.tobytes() + made.masks.tobytes()).hexdigest()
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Run code in a separate process."""
    command = [sys.executable, "-c", PREAMBLE + code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def picture(seed: int, side: int = 48) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (side, side + 16), dtype=np.uint8)


def save(path: Path, image: Array) -> Path:
    path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path


def lay(folder: Path, count: int, *, masks: bool = False) -> list[Sample]:
    """Films as PNG, with masks of all four values if wanted."""
    found = []
    for i in range(count):
        image = save(folder / f"{i}.png", picture(i))
        mask = save(folder / f"{i}_mask.png", picture(i) % 4) if masks else None
        found.append(Sample(id=f"film{i}", patient=f"p{i}", image=image, masks=mask))
    return found


def digest(made: Cache) -> str:
    assert made.masks is not None
    return hashlib.sha256(made.films.tobytes() + made.masks.tobytes()).hexdigest()


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The films that were read from their files, in any order."""
    paths: list[Path] = []

    def counted(path: Path) -> object:
        paths.append(path)
        return read(path)

    monkeypatch.setattr("hilum.data.opened.read", counted)
    return paths


def test_films_are_decoded_once_and_are_what_decode_gives(tmp_path: Path, opened: list[Path]) -> None:
    samples = lay(tmp_path, 12, masks=True)
    first = cached(samples, 32, tmp_path / "cache")
    assert sorted(opened) == sorted(sample.image for sample in samples)  # type: ignore[type-var]
    second = cached(samples, 32, tmp_path / "cache")
    assert len(opened) == 12
    assert first.samples == second.samples == tuple(samples)
    assert first.films.shape == first.masks.shape == (12, 32, 32)  # type: ignore[union-attr]
    assert digest(first) == digest(second)
    for i, sample in enumerate(samples):
        film, mask = decode(sample, 32)
        np.testing.assert_array_equal(first.films[i], film)
        np.testing.assert_array_equal(first.masks[i], mask)  # type: ignore[index, arg-type]


def touch(samples: list[Sample], which: int, kind: str) -> list[Sample]:
    path = getattr(samples[which], kind)
    state = path.stat()
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000_000))
    return samples


@pytest.mark.parametrize(
    "change",
    [
        lambda samples: touch(samples, 3, "image"),
        lambda samples: touch(samples, 3, "masks"),
        lambda samples: samples[:-1],
        lambda samples: samples[::-1],
        lambda samples: [replace(samples[0], id="renamed"), *samples[1:]],
        lambda samples: [replace(samples[0], masks=None), *samples[1:]],
    ],
    ids=["film touched", "mask touched", "one less", "another order", "another name", "a mask less"],
)
def test_a_change_in_what_it_came_from_rebuilds_it(
    tmp_path: Path, opened: list[Path], change: Callable[[list[Sample]], list[Sample]]
) -> None:
    samples = lay(tmp_path, 6, masks=True)
    cached(samples, 16, tmp_path / "cache")
    changed = change(samples)
    opened.clear()
    assert cached(changed, 16, tmp_path / "cache").samples == tuple(changed)
    assert len(opened) == len(changed)


def test_a_film_that_was_replaced_shows_its_new_pixels(tmp_path: Path) -> None:
    samples = lay(tmp_path, 3)
    before = cached(samples, 16, tmp_path / "cache").films[1].copy()
    save(samples[1].image, 255 - picture(1))  # type: ignore[arg-type]
    after = cached(samples, 16, tmp_path / "cache").films[1]
    np.testing.assert_allclose(after.astype(int), 255 - before.astype(int), atol=1)


def test_each_size_has_its_own_cache(tmp_path: Path, opened: list[Path]) -> None:
    samples = lay(tmp_path, 3)
    assert [cached(samples, size, tmp_path / "cache").films.shape[1] for size in (16, 24, 16)] == [16, 24, 16]
    assert len(opened) == 6


def test_generated_films_are_told_apart_by_what_makes_them(tmp_path: Path) -> None:
    one, other = (Sample(id="a", patient="a", image=partial(picture, seed)) for seed in (1, 2))
    before, after = (cached([sample], 16, tmp_path).films for sample in (one, other))
    assert not np.array_equal(before, after)


def test_labels_are_the_callers_and_need_no_new_cache(tmp_path: Path, opened: list[Path]) -> None:
    samples = lay(tmp_path, 2)
    cached(samples, 16, tmp_path / "cache")
    relabelled = [replace(sample, labels={"Edema": 1.0}) for sample in samples]
    assert cached(relabelled, 16, tmp_path / "cache").samples == tuple(relabelled)
    assert len(opened) == 2


def test_films_that_cannot_be_read_are_left_out_and_listed(tmp_path: Path) -> None:
    samples = lay(tmp_path, 60, masks=True)
    samples[5].image.write_bytes(b"not a film")  # type: ignore[union-attr]
    samples[40].masks.write_bytes(b"not a mask")  # type: ignore[union-attr]
    samples[59].image.unlink()  # type: ignore[union-attr]
    for _ in range(2):  # built, then found
        made = cached(samples, 16, tmp_path / "cache")
        assert set(made.failures) == {"film5", "film40", "film59"}
        assert "5.png" in made.failures["film5"]
        assert made.samples == tuple(s for i, s in enumerate(samples) if i not in (5, 40, 59))
        assert made.masks is not None
        assert len(made.films) == len(made.masks) == 57  # a row for each film, and none left over
        np.testing.assert_array_equal(made.films[-1], decode(samples[58], 16)[0])
        np.testing.assert_array_equal(made.masks[5], decode(samples[6], 16)[1])  # type: ignore[arg-type]


@pytest.mark.parametrize(("bad", "refused"), [(1, False), (2, True)])
def test_above_five_percent_the_data_set_is_refused_and_nothing_kept(
    tmp_path: Path, bad: int, refused: bool
) -> None:
    samples = lay(tmp_path, 20)
    for sample in samples[:bad]:
        sample.image.write_bytes(b"not a film")  # type: ignore[union-attr]
    if not refused:
        assert len(cached(samples, 16, tmp_path / "cache").samples) == 19
        return
    with pytest.raises(DataError, match=r"2 of 20 films cannot be read, over 5%. The first: .*0\.png"):
        cached(samples, 16, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_masks_keep_their_values_and_their_place(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 4, (16, 16), dtype=np.uint8)
    large = np.kron(labels, np.ones((6, 7), np.uint8))  # 96 x 112: every pixel six by seven times
    image = save(tmp_path / "film.png", picture(0))
    sample = Sample(id="a", patient="a", image=image, masks=save(tmp_path / "mask.png", large))
    np.testing.assert_array_equal(decode(sample, 16)[1], labels)  # type: ignore[arg-type]
    for size in (13, 50, 200):
        resized = decode(sample, size)[1]
        assert resized is not None
        assert resized.dtype == np.uint8
        assert set(np.unique(resized)) == {0, 1, 2, 3}


@pytest.mark.parametrize("side", [48, 64, 100, 256, 1000])
def test_a_resized_mask_stays_on_its_film(tmp_path: Path, side: int) -> None:
    rows, columns = np.mgrid[:side, :side] / side
    disc = (((rows - 0.4) ** 2 + (columns - 0.55) ** 2) < 0.04).astype(np.uint8)
    paths = [save(tmp_path / f"{name}.png", disc * value) for name, value in (("film", 255), ("mask", 1))]
    film, mask = decode(Sample(id="a", patient="a", image=paths[0], masks=paths[1]), 64)
    assert mask is not None
    for axis in (0, 1):
        places = np.arange(64)
        shown, drawn = (np.average(places, weights=plane.sum(axis=axis)) for plane in (film / 255, mask))
        assert shown == pytest.approx(drawn, abs=0.25)


def test_films_with_and_without_masks_may_be_mixed(tmp_path: Path) -> None:
    one, two = lay(tmp_path, 2, masks=True)
    made = cached([replace(one, masks=None), two], 16, tmp_path / "cache")
    assert made.masks is not None
    assert not made.masks[0].any()
    assert made.masks[1].any()
    assert cached([replace(one, masks=None)], 16, tmp_path / "cache").masks is None


def test_a_generated_film_is_the_same_as_the_file_of_it(tmp_path: Path) -> None:
    from_file = Sample(id="a", patient="a", image=save(tmp_path / "a.png", picture(4)))
    generated = Sample(id="a", patient="a", image=partial(picture, 4))
    np.testing.assert_array_equal(decode(from_file, 24)[0], decode(generated, 24)[0])
    np.testing.assert_array_equal(
        decode(replace(generated, image=partial(picture, 4, 24)), 24)[0].shape, (24, 24)
    )


def test_arrays_are_memory_mapped_and_read_only(tmp_path: Path) -> None:
    made = cached(lay(tmp_path, 3, masks=True), 16, tmp_path / "cache")
    for array in (made.films, made.masks):
        assert isinstance(array, np.memmap)
        assert array.dtype == np.uint8
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0, 0] = 1


def test_progress_counts_every_film(tmp_path: Path) -> None:
    said: list[tuple[int, int, str]] = []
    cached(lay(tmp_path, 4), 16, tmp_path / "cache", tick=lambda *now: said.append(now))
    assert said == [(done, 4, "decoding films") for done in (1, 2, 3, 4)]


def test_generated_films_are_found_again_by_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, _ = start("print(build())", tmp_path, "phantom:6@3").communicate()
    monkeypatch.setattr(module, "_build", lambda *_: pytest.fail("built again"))
    assert digest(cached(open_data("phantom:6@3"), 64, tmp_path)) == output.strip()


def test_two_processes_that_build_at_once_both_get_the_films(tmp_path: Path) -> None:
    # Both wait, finished but for the renaming, until the other has come as far.
    code = """
publish = module._publish
def together(draft, place):
    (folder.parent / f"ready{os.getpid()}").touch()
    patience = time.monotonic() + 60
    while len(list(folder.parent.glob("ready*"))) < 2 and time.monotonic() < patience:
        time.sleep(0.01)
    publish(draft, place)
module._publish = together
print(build())
"""
    folder = tmp_path / "cache"
    both = [start(code, folder, "phantom:6@1") for _ in range(2)]
    outputs = [process.communicate()[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert len(list(tmp_path.glob("ready*"))) == 2
    expected = digest(cached(open_data("phantom:6@1"), 64, tmp_path / "alone"))
    assert outputs == [expected, expected]
    assert len(list(folder.iterdir())) == 1  # one cache, and no draft left


DIE = "os.kill(os.getpid(), signal.SIGKILL)"


@pytest.mark.parametrize(
    ("code", "left"),
    [
        (f"build(tick=lambda done, *_: done == 4 and {DIE})", [4, 5, 6]),
        (f"module._publish = lambda *_: {DIE}\nbuild()", [6]),
    ],
    ids=["while decoding", "before the renaming"],
)
def test_a_killed_build_leaves_no_cache_and_the_next_goes_on_with_it(
    tmp_path: Path, code: str, left: list[int]
) -> None:
    folder = tmp_path / "cache"
    killed = start("module._SAVED = -1\n" + code, folder, "phantom:6@2")
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    (draft,) = folder.iterdir()
    assert draft.name.startswith(".")
    decoded: list[int] = []
    samples = open_data("phantom:6@2")
    made = cached(samples, 64, folder, tick=lambda done, *_: decoded.append(done))
    assert decoded == left[1:]
    assert digest(made) == digest(cached(samples, 64, tmp_path / "alone"))
    (place,) = folder.iterdir()
    assert sorted(path.name for path in place.iterdir()) == ["films.npy", "index.json", "masks.npy"]


def test_a_build_that_was_interrupted_goes_on_and_remembers_what_failed(
    tmp_path: Path, opened: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = lay(tmp_path, 40)
    samples[2].image.write_bytes(b"not a film")  # type: ignore[union-attr]
    monkeypatch.setattr(module, "_SAVED", -1)

    def stop(done: int, *_: object) -> None:
        if done == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached(samples, 16, tmp_path / "cache", tick=stop)
    opened.clear()
    made = cached(samples, 16, tmp_path / "cache")
    assert len(opened) == 10
    assert set(made.failures) == {"film2"}
    assert made.samples == tuple(s for i, s in enumerate(samples) if i != 2)
    for row, sample in zip(made.films, made.samples, strict=True):
        np.testing.assert_array_equal(row, decode(sample, 16)[0])


def test_what_fails_for_a_moment_is_tried_again_and_what_always_fails_is_told(tmp_path: Path) -> None:
    tries: list[int] = []

    def flickering() -> Array:
        tries.append(0)
        if len(tries) < 3:
            raise OSError("no answer")
        return picture(1)

    def wrong() -> Array:
        raise KeyError("y")

    samples = [Sample(id=f"{i}", patient="p", image=partial(picture, i)) for i in range(30)]
    samples += [Sample(id="slow", patient="p", image=flickering), Sample(id="bad", patient="p", image=wrong)]
    made = cached(samples, 16, tmp_path)
    assert len(made.samples) == 31 and made.samples[-1].id == "slow"
    assert made.failures == {"bad": "bad: its film or mask cannot be used (KeyError); export it again"}


def test_a_disk_that_fails_for_a_moment_costs_no_film(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = tmp_path / "film.png"
    cv2.imwrite(str(film), np.arange(64 * 64, dtype=np.uint16).reshape(64, 64))
    reads, whole = [], Path.read_bytes

    def failing(path: Path) -> bytes:
        reads.append(path)
        if len(reads) < 3:
            raise OSError(errno.EIO, "Input/output error")
        return whole(path)

    monkeypatch.setattr(Path, "read_bytes", failing)
    monkeypatch.setattr("hilum.data.opened._PATIENCE", (0.0, 0.0, 0.0))
    sample = Sample(id="a", patient="a", image=film)
    assert not isinstance(attempt(sample, 32), HilumError)
    reads.clear()
    monkeypatch.setattr("hilum.data.opened._PATIENCE", (0.0, 0.0))
    found = attempt(sample, 32)
    assert isinstance(found, StorageError) and "cannot be opened (OSError)" in str(found)
    # A fault of the film itself is not retried.
    monkeypatch.setattr(Path, "read_bytes", whole)
    film.write_bytes(b"no film")
    assert not isinstance(attempt(sample, 32), StorageError)


def test_a_disk_that_fills_up_meanwhile_costs_no_work(
    tmp_path: Path, opened: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = lay(tmp_path, 6)
    monkeypatch.setattr(module, "_SAVED", -1)
    write = Path.write_text

    def full(path: Path, text: str, **more: str) -> int:
        if path.name == "index.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, text, **more)

    def full_too(path: Path, data: str) -> None:
        if data.startswith('{"done": 5'):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_whole(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        patch.setattr(module, "write_whole", full_too)
        with pytest.raises(DataError, match="No space left on device; make room, and run it again"):
            cached(samples, 16, tmp_path / "cache")
    opened.clear()
    assert len(cached(samples, 16, tmp_path / "cache").samples) == 6
    assert opened == []


def test_an_old_draft_that_nobody_builds_is_swept(tmp_path: Path) -> None:
    draft = tmp_path / "cache" / ".0123456789abcdef-draft"
    draft.mkdir(parents=True)
    samples = lay(tmp_path, 2)
    cached(samples, 16, tmp_path / "cache")
    assert draft.is_dir()
    yesterday = time.time() - 90_000
    os.utime(draft, (yesterday, yesterday))
    cached(samples, 32, tmp_path / "cache")
    assert not draft.exists()


def test_a_full_disk_is_told_before_a_film_is_decoded_and_leaves_nothing(
    tmp_path: Path, opened: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"cache: No space left on device; 3 films of side 1000 take 3 MB"):
        cached(lay(tmp_path, 3), 1000, tmp_path / "cache")
    assert opened == []
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_draft_that_vanishes_while_sweeping_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "glob", lambda *_: [tmp_path / ".published-meanwhile"])
    assert len(cached(lay(tmp_path, 2), 16, tmp_path / "cache").films) == 2


def test_nothing_but_drafts_is_swept(tmp_path: Path) -> None:
    """The folder of a cache may hold other things."""
    draft = tmp_path / ".0123456789abcdef-x1y2z3"
    draft.mkdir()
    others = [
        tmp_path / name for name in (".git-credentials", ".pre-commit-config.yaml", "0123456789abcdef-a")
    ]
    for path in others:
        path.touch()
    for path in (draft, *others):
        os.utime(path, (0, 0))
    cached([Sample(id="a", patient="a", image=partial(picture, 1))], 16, tmp_path)
    assert not draft.exists() and all(path.exists() for path in others)


def test_a_film_that_was_mended_is_no_longer_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = lay(tmp_path, 40)
    real = module.attempt

    def denied(sample: Sample, *about: Any, **more: Any) -> Any:
        return DataError("permission denied") if sample.id == "film7" else real(sample, *about, **more)

    with monkeypatch.context() as patch:
        patch.setattr(module, "attempt", denied)
        for _ in range(2):
            assert list(cached(samples, 32, tmp_path / "cache").failures) == ["film7"]
    whole = cached(samples, 32, tmp_path / "cache")
    assert not whole.failures and len(whole.samples) == 40
