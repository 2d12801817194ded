"""Shards: the films that went in come out, from any place; truncated and foreign shards are handled."""

from __future__ import annotations

import io
import json
import math
import os
import tarfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.data import listing, open_data
from hilum.data.cache import cached
from hilum.data.opened import decode
from hilum.data.shard_writer import write
from hilum.data.sources import shards as module
from hilum.errors import DataError, ReadError
from hilum.labels import CONCLUDED, UNCERTAIN
from hilum.reading.reader import read
from hilum.reading.shards import cut, entries
from hilum.types import LUNG_OF_UNKNOWN_SIDE, Array, Sample


def lay(folder: Path) -> list[Sample]:
    """Films as files, the first with a mask."""
    folder.mkdir()
    found = []
    for i in range(5):
        path = folder / f"{i}.png"
        image = np.random.default_rng(i).integers(0, 65536, (40, 30), dtype=np.uint16)
        path.write_bytes(cv2.imencode(".png", image)[1].tobytes())
        labels = {"Edema": float(i % 2), "Mass": math.nan}
        boxes = {"Edema": ((0.1, 0.2, 0.3, 0.4),)} if i == 3 else None
        about = {
            "labels": labels,
            "study": f"s{i}",
            "boxes": boxes,
            "published": i == 2,
            "site": "here",
            "sex": "F",
            "age": 61.0,
            "view": "PA",
            "part": "test",
        }
        found.append(Sample(id=f"here:{i}", patient=f"p{i // 2}", image=path, **about))  # type: ignore[arg-type]
    mask = folder / "mask.png"
    mask.write_bytes(cv2.imencode(".png", np.eye(40, 30, dtype=np.uint8) * 2)[1].tobytes())
    shown = frozenset({"right_lung", "left_lung"})
    found[0] = Sample(
        id="here:0", patient="p0", image=found[0].image, masks=mask, structures=shown, site="here"
    )
    return found


def test_what_went_in_comes_out(tmp_path: Path) -> None:
    samples = lay(tmp_path / "films")
    said: list[int] = []
    assert write(samples, tmp_path / "out", films=2, tick=lambda done, *_: said.append(done)) == {}
    assert said == [1, 2, 3, 4, 5]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"films-0000{i}.{ending}" for i in range(3) for ending in ("json", "tar")
    ]
    names = (
        f"{tmp_path}/out",
        f"{tmp_path}/out/films-{{00000..00002}}.tar",
        f"file://{tmp_path}/out/films-{{00000..00002}}.tar",
    )
    for name in names:
        back = open_data(f"shards:{name}")
        for one, other in zip(samples, back, strict=True):
            for field in (
                "id",
                "patient",
                "study",
                "site",
                "sex",
                "age",
                "view",
                "part",
                "structures",
                "boxes",
                "published",
            ):
                assert getattr(one, field) == getattr(other, field)
            np.testing.assert_equal(dict(one.labels), dict(other.labels))
            film, mask = decode(one, 32, deep=True)
            again, followed = decode(other, 32, deep=True)
            np.testing.assert_array_equal(film, again)
            assert (mask is None) == (followed is None)
            if mask is not None:
                np.testing.assert_array_equal(mask, followed)


@pytest.mark.parametrize("size", [0, 32])
def test_a_mask_of_lungs_that_touch_comes_back_without_their_sides(tmp_path: Path, size: int) -> None:
    (one, *_) = lay(tmp_path / "films")
    touching = np.zeros((40, 30), np.uint8)
    touching[10:30, 5:25] = 255
    (tmp_path / "films" / "mask.png").write_bytes(cv2.imencode(".png", touching)[1].tobytes())
    write([replace(one, structures=frozenset({"lungs"}))], tmp_path / "out", size=size)
    (back,) = open_data(f"shards:{tmp_path}/out")
    mask = decode(back, 32)[1]
    assert mask is not None and set(np.unique(mask)) == {0, LUNG_OF_UNKNOWN_SIDE}
    np.testing.assert_array_equal(mask, decode(one, 32)[1])


def test_films_are_stretched_where_asked(tmp_path: Path) -> None:
    samples = lay(tmp_path / "films")
    write(samples, tmp_path / "out", size=16)
    (shard,) = (tmp_path / "out").glob("*.tar")
    with tarfile.open(shard) as tar:
        assert tar.getnames()[:4] == ["00000000.png", "00000000.mask.png", "00000000.json", "00000001.png"]
    back = open_data(f"shards:{shard}")
    for one, other in zip(samples, back, strict=True):
        np.testing.assert_array_equal(decode(one, 16)[0], decode(other, 16)[0])


def test_a_killed_run_goes_on_and_never_into_other_films(tmp_path: Path) -> None:
    samples = lay(tmp_path / "films")

    def stop(done: int, *_: object) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(samples, tmp_path / "out", films=2, tick=stop)
    first = tmp_path / "out" / "films-00000.tar"
    before = first.stat().st_mtime_ns
    assert [path.name for path in first.parent.glob("*.tar")] == [first.name]
    write(samples, tmp_path / "out", films=2)
    assert first.stat().st_mtime_ns == before
    assert len(open_data(f"shards:{tmp_path}/out")) == 5
    for other, more in ((samples[::-1], {}), (samples, {"size": 16}), (samples[:4], {"films": 1})):
        with pytest.raises(DataError, match="holds other films, or of another size"):
            write(other, tmp_path / "out", **{"films": 2} | more)


def test_generated_films_keep_their_grey_levels_and_uncertain_labels_stay_so(tmp_path: Path) -> None:
    image = partial(_fine, 3)
    labels = {"Edema": UNCERTAIN, "Mass": 0.0, "No Finding": CONCLUDED}
    sample = Sample(id="a", patient="p", image=image, labels=labels, site="x")
    write([sample], tmp_path)
    back = listing(f"shards:{tmp_path}").samples[0]
    assert back.labels == labels
    (settled,) = open_data(f"shards:{tmp_path}", uncertain="one")
    assert settled.labels == {"Edema": 1.0, "Mass": 0.0, "No Finding": 0.0}
    np.testing.assert_allclose(back.image(), image(), atol=1e-5)  # type: ignore[operator]
    (film,), _ = entries(tmp_path / "films-00000.tar")
    coded = cut(tmp_path / "films-00000.tar", *film.film)
    np.testing.assert_array_equal(read(coded).pixels, back.image())  # type: ignore[operator]
    assert "whole" not in film.about
    again = tmp_path / "again"
    write([back], again)
    np.testing.assert_array_equal(listing(f"shards:{again}").samples[0].image(), back.image())  # type: ignore[operator]


def _fine(seed: int) -> Array:
    return np.random.default_rng(seed).random((20, 24), np.float32)


def test_a_cache_notices_that_a_shard_was_written_anew(tmp_path: Path) -> None:
    for seed in (1, 2):
        write([Sample(id="a", patient="p", image=partial(_fine, seed))], tmp_path / str(seed), size=16)
    shard = tmp_path / "films-00000.tar"
    shard.write_bytes((tmp_path / "1" / shard.name).read_bytes())
    before = cached(open_data(f"shards:{shard}"), 16, tmp_path / "cache").films[0].copy()
    shard.write_bytes((tmp_path / "2" / shard.name).read_bytes())
    assert not np.array_equal(cached(open_data(f"shards:{shard}"), 16, tmp_path / "cache").films[0], before)


def test_a_film_that_cannot_be_read_is_left_out_and_told(tmp_path: Path) -> None:
    samples = lay(tmp_path / "films")
    samples[1].image.write_bytes(b"no film")  # type: ignore[union-attr]
    failures = write(samples, tmp_path / "out")
    assert set(failures) == {"here:1"} and "1.png" in failures["here:1"]
    assert write(samples, tmp_path / "out") == failures
    assert [sample.id for sample in open_data(f"shards:{tmp_path}/out")] == [
        f"here:{i}" for i in (0, 2, 3, 4)
    ]


def tar(path: Path, **members: bytes) -> str:
    with tarfile.open(path, "w") as file:
        for name, data in members.items():
            info = tarfile.TarInfo(name.replace("__", "/").replace("_", "."))
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return f"shards:{path}"


def test_shards_of_other_makers_are_read_as_far_as_they_tell(tmp_path: Path) -> None:
    film = cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8))[
        1
    ].tobytes()
    about = json.dumps({"labels": {"edema": 1, "COVID-19": None}, "age": "40"}).encode()
    name = tar(tmp_path / "theirs.tar", ward__1_jpg=film, ward__1_json=about, ward__1_cls=b"3", b_jpg=film)
    one, other = open_data(name)
    assert (one.labels["Edema"], one.age, one.patient) == (1.0, 40.0, one.id)
    assert math.isnan(one.labels["COVID-19"])
    assert one.id.endswith("ward/1") and other.labels == {}
    assert decode(one, 16)[0].shape == (16, 16)


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"a_png": b"x", "a_json": b"[1]"}, "a.json: not a JSON object"),
        ({"a_png": b"x", "a_json": b"{"}, "a.json: not a JSON object"),
        ({"a_png": b"x", "a_json": b'{"labels": {"Edema": "yes"}}'}, "a.json: labels are"),
        ({"a_png": b"x", "a_json": b'{"labels": [1]}'}, "a.json: labels are"),
        ({"a_png": b"x", "a_json": b'{"labels": {"Edema": 7}}'}, "a.json: labels are"),
        ({"a_png": b"x", "a_json": b'{"age": 1' + b"0" * 400 + b"}"}, "a.json: labels are"),
        ({"a_png": b"x", "a_json": b'{"sex": ["M"]}'}, "a.json: names are texts"),
        ({"a_png": b"x", "a_json": b'{"structures": "lungs"}'}, "a.json: names are texts"),
        ({"a_png": b"x", "a_json": b"[" * 200_000}, "a.json: not a JSON object"),
        ({"a_txt": b"x"}, "no films found"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, members: dict[str, bytes], why: str) -> None:
    with pytest.raises(DataError, match=why):
        open_data(tar(tmp_path / "wrong.tar", **members))


def test_a_shard_cut_short_and_a_folder_without_any_are_refused(tmp_path: Path) -> None:
    write(lay(tmp_path / "films"), tmp_path / "out")
    (shard,) = (tmp_path / "out").glob("*.tar")
    whole = shard.read_bytes()
    samples = open_data(f"shards:{shard}")
    shard.write_bytes(whole[:700])
    with pytest.raises(DataError, match=r"cut short|ends too early"):
        open_data(f"shards:{shard}")
    with pytest.raises(DataError, match="ends too early"):
        decode(samples[-1], 16)
    with pytest.raises(DataError, match=r"no \*.tar there"):
        open_data(f"shards:{tmp_path / 'films'}")
    with pytest.raises(DataError, match=r"none\.tar: no such file; check the path"):
        open_data(f"shards:{tmp_path / 'none.tar'}")


def test_an_empty_member_is_a_film_that_cannot_be_read(tmp_path: Path) -> None:
    (sample,) = open_data(tar(tmp_path / "empty.tar", a_png=b""))
    with pytest.raises(ReadError, match=r"empty\.tar, a\.png: empty file"):
        decode(sample, 16)


def test_shards_that_a_longer_run_left_are_refused(tmp_path: Path) -> None:
    samples = lay(tmp_path / "films")
    write(samples, tmp_path / "out", films=2)
    with pytest.raises(DataError, match=r"films-00002\.tar: holds other films"):
        write(samples[:4], tmp_path / "out", films=2)
    (tmp_path / "out" / "films-00002.tar").unlink()
    write(samples[:4], tmp_path / "out", films=2)
    assert len(open_data(f"shards:{tmp_path}/out")) == 4


def test_a_film_that_is_gone_is_left_out_and_told(tmp_path: Path) -> None:
    samples = lay(tmp_path / "films")
    samples[3].image.unlink()  # type: ignore[union-attr]
    failures = write(samples, tmp_path / "out")
    assert set(failures) == {"here:3"} and "3.png: no such file" in failures["here:3"]


def test_a_draft_that_a_killed_run_left_is_swept(tmp_path: Path) -> None:
    old, new = (tmp_path / f".films-00000.tar-{name}" for name in ("old", "new"))
    for draft in (old, new):
        draft.touch()
    os.utime(old, (0, 0))
    write([], tmp_path)
    assert (old.exists(), new.exists()) == (False, True)


def test_two_spellings_of_a_label_are_refused() -> None:
    with pytest.raises(DataError, match="two spellings of one label; keep one of them"):
        module._numbers("a.tar, 1.json", {"labels": {"Pleural Effusion": 1, "Effusion": 0}})
