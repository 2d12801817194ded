"""Films by name, wherever they lie; nothing is opened before it is asked for."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from hilum.bulk.inputs import Files, Portion, Remote, Shard, _below, _name, portions
from hilum.data import open_data, short
from hilum.data.phantom import draw
from hilum.data.shard_writer import write
from hilum.errors import ConfigError, DataError, ReadError
from hilum.pipeline import Opener
from hilum.reading.reader import read
from hilum.reading.shards import plain
from hilum.types import Sample


def picture(seed: int) -> bytes:
    return cv2.imencode(".png", draw(seed, size=64).pixels)[1].tobytes()


def shard(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def named(found: list[Portion]) -> dict[str, Opener]:
    return {name: film for one in found for name, film in one.named().items()}


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """Two loose films, two shards between them, and what is no film."""
    folder = tmp_path / "lake"
    shard(folder / "b" / "films-000.tar", {"x/1.png": picture(1), "x/1.json": b"{not", "2.png": picture(2)})
    shard(folder / "b" / "films-001.tar", {"1.png": picture(3)})
    (folder / "a.png").write_bytes(picture(4))
    (folder / "c.png").write_bytes(picture(5))
    (folder / ".hidden.png").write_bytes(b"")
    return folder


NAMES = ["a.png", "b/films-000.tar/x/1.png", "b/films-000.tar/2.png", "b/films-001.tar/1.png", "c.png"]


@pytest.mark.parametrize("address", ["{}", "file://{}", "file://{}/"])
def test_films_of_a_folder_and_of_shards_in_it_are_named_by_their_place(
    lake: Path, tmp_path: Path, address: str
) -> None:
    found = named(portions([address.format(lake)], tmp_path / "out", films=10))
    assert list(found) == NAMES
    for name, seed in zip(NAMES, (4, 1, 2, 3, 5), strict=True):
        film = found[name]()
        np.testing.assert_array_equal(film.pixels, read(picture(seed)).pixels)
        assert film.origin.path.endswith(name)


def test_a_film_is_told_by_the_path_that_the_user_gave(
    lake: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(lake)
    film = named(portions(["a.png"], tmp_path / "out", films=10))["a.png"]
    monkeypatch.chdir(tmp_path)  # as a worker's own folder is another one
    assert film().origin.path == "a.png"
    (lake / "a.png").write_bytes(b"no film")
    with pytest.raises(ReadError, match=r"^a\.png: not a DICOM"):
        film()


def test_portions_are_of_so_many_films_and_each_shard_one_of_its_own(tmp_path: Path) -> None:
    for i in range(7):
        (tmp_path / f"{i}.png").write_bytes(b"")
    shard(tmp_path / "3a.tar", {"1.png": b""})
    found = portions([str(tmp_path)], tmp_path / "out", films=3)
    assert [len(one.named()) if isinstance(one, Files) else one.name for one in found] == [3, 1, "3a.tar", 3]


def test_a_range_of_shards_and_single_ones(lake: Path, tmp_path: Path) -> None:
    found = portions([f"{lake}/b/films-{{000..001}}.tar"], tmp_path / "out", films=10)
    assert [one.name for one in found if isinstance(one, Shard)] == ["films-000.tar", "films-001.tar"]
    (behind,) = portions([f"file://{lake}/b/films-001.tar"], tmp_path / "out", films=10)
    assert list(behind.named()) == ["films-001.tar/1.png"]
    (one,) = portions([f"file://{lake}/a.png"], tmp_path / "out", films=10)
    assert list(one.named()) == ["a.png"]


def test_films_that_were_no_files_keep_every_grey_level_in_a_shard(tmp_path: Path) -> None:
    greys = np.random.default_rng(0).integers(0, 65536, (2, 40, 40)) / np.float32(65535)
    samples = [Sample(id=str(i), patient="p", image=lambda i=i: greys[i]) for i in range(2)]
    write(samples, tmp_path / "shards")
    found = named(portions([str(tmp_path / "shards")], tmp_path / "out", films=10))
    # Without the note beside the shard.
    assert list(found) == ["films-00000.tar/00000000.png", "films-00000.tar/00000001.png"]
    for film, grey in zip(found.values(), greys, strict=True):
        np.testing.assert_allclose(film().pixels, grey, atol=1e-6)


def test_a_shard_that_is_none_is_one_film_that_cannot_be_read(lake: Path, tmp_path: Path) -> None:
    (lake / "b" / "films-000.tar").write_bytes(b"no tar")
    found = named(portions([str(lake)], tmp_path / "out", films=10))
    assert list(found) == ["a.png", "b/films-000.tar", "b/films-001.tar/1.png", "c.png"]
    with pytest.raises(DataError, match="no tar file"):
        found["b/films-000.tar"]()
    shard(lake / "b" / "films-000.tar", {"1.txt": b"", "._1.png": b""})
    found = named(portions([str(lake / "b" / "films-000.tar")], tmp_path / "out", films=10))
    with pytest.raises(DataError, match="holds no film"):
        found["films-000.tar"]()


@pytest.mark.parametrize("address", ["{}", "file://{}"])
@pytest.mark.parametrize("damage", ["flipped", "zeroed", "cut between", "cut in a heading", "cut in a film"])
def test_what_a_damaged_shard_holds_is_kept_and_what_is_lost_is_told(
    tmp_path: Path, damage: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hilum.bulk.inputs._TRIES", (0.0, 0.0))
    path = shard(tmp_path / "films.tar", {f"{i}.png": picture(i) for i in range(5)})
    with tarfile.open(path) as tar:
        third = tar.getmembers()[2]
    whole = bytearray(path.read_bytes())
    if damage == "flipped":
        whole[third.offset + 3] ^= 0xFF
    elif damage == "zeroed":
        whole[third.offset : third.offset + 512] = bytes(512)
    else:
        end = third.offset + {"cut between": 0, "cut in a heading": 100, "cut in a film": 600}[damage]
        del whole[end:]
    path.write_bytes(whole)
    found = named(portions([address.format(path)], tmp_path / "out", films=10))
    held = ["films.tar/0.png", "films.tar/1.png"]
    assert list(found) == [*held, *["films.tar/2.png"] * (damage == "cut in a film"), "films.tar"]
    for name in held:
        assert found[name]().pixels.shape == (64, 64)
    for name in list(found)[2:]:
        with pytest.raises((DataError, ReadError), match=r"damaged, or cut short|cannot be fetched"):
            found[name]()
    with pytest.raises(DataError, match="damaged, or cut short"):
        open_data(f"shards:{address.format(path)}")


def test_every_member_that_may_be_a_film_is_one(tmp_path: Path) -> None:
    names = ["1.2.840.113.dcm", "1.2.840.114", "IM0001", "x.DICOM", "7.frontal.png", "a.png", "a.jpg"]
    beside = ["a.json", "a.mask.png", "a.cls", "._a.png", ".hidden/x"]
    path = shard(tmp_path / "films.tar", {name: picture(1) for name in (*names, *beside)} | {"a.json": b"{}"})
    found = named(portions([str(path)], tmp_path / "out", films=10))
    assert list(found) == [f"films.tar/{name}" for name in [*names, ".hidden/x"]]
    with pytest.raises(DataError, match="stands there twice"):
        open_data(f"shards:{path}")
    path = shard(tmp_path / "films.tar", {name: picture(1) for name in names[:-1]})
    assert [sample.id.split(":")[1] for sample in open_data(f"shards:{path}")] == [
        "1.2.840.113", "1.2.840.114", "IM0001", "x", "7.frontal", "a",
    ]  # fmt: skip


def test_a_second_name_of_a_file_is_a_film_too(tmp_path: Path) -> None:
    folder = tmp_path / "films"
    (folder / "in").mkdir(parents=True)
    (folder / ".x.png").write_bytes(picture(1))
    (folder / "a.png").write_bytes(picture(2))
    (folder / "in" / "l.png").symlink_to("a.png")  # that is in/a.png, which is not in the archive
    os.link(folder / ".x.png", folder / "in" / "x.png")
    os.link(folder / "a.png", folder / "c.png")
    with tarfile.open(tmp_path / "films.tar", "w") as tar:
        for name in (".x.png", "a.png", "in/l.png", "in/x.png", "c.png"):
            tar.add(folder / name, name)
    found = named(portions([str(tmp_path / "films.tar")], tmp_path / "out", films=10))
    assert list(found) == [f"films.tar/{name}" for name in ("a.png", "in/x.png", "c.png")]
    for film, seed in zip(found.values(), (2, 1, 2), strict=True):
        np.testing.assert_array_equal(film().pixels, read(picture(seed)).pixels)


def test_an_address_within_another_tells_no_secret_either() -> None:
    within = "zip://films/1.png::simplecache::https://me:secret@host/a.zip?sig=secret"
    assert plain(within) == "zip://films/1.png::simplecache::https://host/a.zip"


SECRETS = "https://me:secret@host/films/x.tar?sig=secret"


def test_no_name_or_error_of_a_shard_tells_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hilum.bulk.inputs._TRIES", (0.0, 0.0))
    asked = []

    class Refused(Exception):  # noqa: N818 - as a store names its own
        pass

    def refuse(url: str, *_: str) -> None:
        asked.append(url)
        raise (Refused, OSError, ValueError)[len(asked) % 3](url)

    monkeypatch.setattr("fsspec.open", refuse)
    ((name, film),) = Shard(SECRETS, "x.tar").named().items()
    with pytest.raises(DataError) as told:
        film()
    assert asked == [SECRETS] * 3
    said = [f"{name} {told.value}"]
    for _ in range(3):
        with pytest.raises(DataError) as told:
            open_data(f"shards:{SECRETS}")
        said.append(str(told.value))
    said.append(short(f"shards:{SECRETS}"))
    assert all("https://host/films/x.tar" in one for one in said[:-1]) and said[-1] == "shards:x.tar"
    assert not [one for one in said if "secret" in one]


@pytest.mark.parametrize(
    ("folder", "below"),
    [
        ("ftp://me:pw@host/films", "ftp://me:pw@host/films/w/1.png"),
        ("webhdfs://namenode:9870/films/", "webhdfs://namenode:9870/films/w/1.png"),
        (
            "abfs://box@account.dfs.core.windows.net/films",
            "abfs://box@account.dfs.core.windows.net/films/w/1.png",
        ),
        ("https://host/films/?sig=x", "https://host/films/w/1.png?sig=x"),
        ("zip://films::https://host/a.zip?sig=x", "zip://films/w/1.png::https://host/a.zip?sig=x"),
        ("simplecache::s3://bucket/films", "simplecache::s3://bucket/films/w/1.png"),
    ],
)
def test_what_lies_below_an_address_keeps_its_host_account_and_signature(folder: str, below: str) -> None:
    assert _below(folder, "w/1.png") == below


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://host/films/1.png?sig=x", "1.png"),
        ("zip://a/x.png::https://host/films.zip?sig=x", "x.png"),
        ("zip://x.png::/t/films.zip", "x.png"),
        ("zip://::https://host/films.zip", "films.zip"),
        ("simplecache::s3://bucket/films/1.png", "1.png"),
        ("simplecache::zip://a/x.png::https://host/films.zip", "x.png"),
    ],
)
def test_a_film_at_an_address_within_another_has_its_own_name(address: str, name: str) -> None:
    assert _name(address) == name


def test_films_of_one_archive_can_be_given_together(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "films.zip", "w") as archive:
        archive.writestr("a/x.png", picture(1))
        archive.writestr("b/y.png", picture(2))
    given = [f"zip://{name}::{tmp_path}/films.zip" for name in ("a/x.png", "b/y.png")]
    found = named(portions(given, tmp_path / "out", films=10))
    assert list(found) == ["x.png", "y.png"]
    assert all(film().pixels.ndim == 2 for film in found.values())


def test_a_whole_archive_can_be_given(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "films.zip", "w") as archive:
        archive.writestr("a/x.png", picture(1))
        archive.writestr("y.png", picture(2))
    found = named(portions([f"zip://::{tmp_path}/films.zip"], tmp_path / "out", films=10))
    assert list(found) == ["a/x.png", "y.png"]
    assert all(film().pixels.ndim == 2 for film in found.values())


def test_results_are_named_after_a_folder_and_never_after_its_secrets(lake: Path, tmp_path: Path) -> None:
    given = [f"file://{lake}?sig=secret", f"file://{lake}/b"]
    with pytest.raises((DataError, ConfigError)) as told:  # a file's address has no such part
        portions(given, tmp_path / "out", films=10)
    assert "secret" not in str(told.value)


def test_what_changes_a_film_changes_its_portions_mark(lake: Path, tmp_path: Path) -> None:
    def marks() -> list[str]:
        return [one.mark for one in portions([str(lake)], tmp_path / "out", films=1)]

    before = marks()
    assert marks() == before
    (lake / "a.png").write_bytes(picture(4) + b" ")
    shard(lake / "b" / "films-001.tar", {"1.png": picture(3), "2.png": picture(3)})
    assert [one == two for one, two in zip(before, marks(), strict=True)] == [False, True, False, True]


def test_portions_can_be_sent_to_another_machine(lake: Path, tmp_path: Path) -> None:
    found = portions([str(lake)], tmp_path / "out", films=10)
    assert pickle.loads(pickle.dumps(found)) == found  # noqa: S301  # of our own making


def test_an_address_is_told_without_its_secrets_and_asked_again(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("hilum.bulk.inputs._TRIES", (0.0, 0.0))
    asked = []

    def refuse(url: str, *_: int) -> None:
        asked.append(url)
        raise TimeoutError

    monkeypatch.setattr("hilum.bulk.inputs._asked", refuse)
    with pytest.raises(ReadError) as told:
        Remote("https://me:secret@host/films/1.png?Signature=secret", 9, "")()
    assert str(told.value).startswith("https://host/films/1.png: cannot be fetched (TimeoutError)")
    assert len(asked) == 3
    with pytest.raises(DataError, match=r"^nowhere://films/: cannot be listed"):
        portions(["nowhere://me:secret@films/"], tmp_path, films=1)


@pytest.mark.parametrize("given", [["{0}/a.png", "file://{0}/a.png"], ["file://{0}/none/"], ["{0}/none"]])
def test_what_is_missing_or_given_twice_is_refused(lake: Path, tmp_path: Path, given: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"given already|no film there|no such file"):
        portions([one.format(lake) for one in given], tmp_path / "out", films=1)


def test_a_member_that_leads_out_of_its_shard_is_only_a_name(tmp_path: Path) -> None:
    path = shard(tmp_path / "films.tar", {"../../x.png": picture(1)})
    ((name, film),) = named(portions([str(path)], tmp_path / "out", films=1)).items()
    assert name == "films.tar/../../x.png"
    assert film().pixels.shape == (64, 64)
