"""Films to be analysed, by name, wherever they lie: files, folders, WebDataset shards, URLs.

Nothing is opened until it is needed, possibly on another machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from hilum.errors import ConfigError, DataError, HilumError, MissingExtraError, ReadError
from hilum.extras import needs
from hilum.pipeline import Opener
from hilum.reading.files import beside, inputs
from hilum.reading.reader import read
from hilum.reading.shards import Entry, cut, entries, plain, shards
from hilum.types import Radiograph

_TRIES = (1.0, 4.0)  # seconds to wait before a URL is tried again
_LARGEST = 2**30  # bytes of a film behind a URL


@dataclass(frozen=True, slots=True)
class File:
    """A file on a disk."""

    path: Path  # absolute
    shown: str  # as the user gave it

    def __call__(self) -> Radiograph:
        return read(self.path, name=self.shown)

    @property
    def mark(self) -> str:
        """Where it lies and what tells that it was changed."""
        return f"{self.path} {_mark(self.path)}"


@dataclass(frozen=True, slots=True)
class Remote:
    """A file behind a URL."""

    url: str
    size: int
    about: str  # ETag, time and the like: differs if the file was changed

    def __call__(self) -> Radiograph:
        return read(_fetched(self.url, 0, self.size), name=plain(self.url))

    @property
    def mark(self) -> str:
        """Where it lies and what tells that it was changed."""
        return f"{plain(self.url)} {self.size} {self.about}"


@dataclass(frozen=True, slots=True)
class Member:
    """A file within a shard."""

    shard: Path | str
    name: str
    start: int
    size: int

    def __call__(self) -> Radiograph:
        data = _fetched(self.shard, self.start, self.size)
        return read(data, name=f"{plain(self.shard)}/{self.name}")


@dataclass(frozen=True, slots=True)
class Broken:
    """Stands for films that cannot be listed."""

    error: HilumError

    def __call__(self) -> Radiograph:
        raise self.error


@dataclass(frozen=True, slots=True)
class Files:
    """Some films, by name."""

    films: Mapping[str, File | Remote]

    def named(self) -> Mapping[str, Opener]:
        """Name -> film."""
        return self.films

    @property
    def mark(self) -> str:
        """A text that differs for other or changed films."""
        return "\n".join(f"{name} {film.mark}" for name, film in self.films.items())


@dataclass(frozen=True, slots=True)
class Shard:
    """The films of one shard; its headers are read only when needed."""

    place: Path | str
    name: str
    about: str = ""

    def named(self) -> Mapping[str, Opener]:
        """Name -> film; a part of the shard that cannot be listed counts as one unreadable film."""
        found, fault = _headings(self.place)
        named: dict[str, Opener] = {
            f"{self.name}/{one.name}": Member(self.place, one.name, *one.film) for one in found
        }
        if not named and fault is None:
            fault = DataError(f"{plain(self.place)}: holds no film; leave it out")
        return named if fault is None else named | {self.name: Broken(fault)}

    @property
    def mark(self) -> str:
        about = self.about if isinstance(self.place, str) else _mark(self.place)
        return f"{self.name} {plain(self.place)} {about}"


Portion: TypeAlias = Files | Shard


def portions(
    given: Sequence[str], out: Path, *, films: int, passed: Callable[[str], None] = lambda _: None
) -> list[Portion]:
    """The inputs that a user gave, in portions of at most `films` films; each shard is a separate portion.

    Files and folders, also those behind URLs, are named as in `hilum.reading.files`. Files that end in .tar
    are shards (also name-{000..012}.tar); their films are named after the shard and their path in it.
    `out` and `passed` are as there. Raises ConfigError, DataError and MissingExtraError.
    """
    found = _listed(given, out, passed)
    done: list[Portion] = []
    some: dict[str, File | Remote] = {}
    for name, place in found.items():
        if isinstance(place, Shard) or len(some) == films:
            if some:
                done.append(Files(some))
            some = {}
        if isinstance(place, Shard):
            done.append(place)
        else:
            some[name] = place
    return [*done, Files(some)] if some else done


def _listed(
    given: Sequence[str], out: Path, passed: Callable[[str], None]
) -> dict[str, File | Remote | Shard]:
    several = [str(one) for path in given for one in (shards(path) if _range(path) else [path])]
    disk = inputs([Path(path) for path in several if "://" not in path], out, passed=passed)
    found: dict[str, File | Remote | Shard] = {
        name: Shard(path.absolute(), name) if path.suffix == ".tar" else File(path.absolute(), str(path))
        for name, path in disk.items()
    }
    for url in several:
        if "://" in url:
            prefix = f"{_name(url)}/" if len(several) > 1 else ""
            behind = _behind(url, prefix, passed)
            if clash := found.keys() & behind.keys():
                raise ConfigError(f"{plain(url)}: {min(clash)} was given already; run them apart")
            found |= behind
    # The json files that `hilum data shards` writes beside each shard are not films.
    notes = {f"{name.removesuffix('.tar')}.json" for name, place in found.items() if isinstance(place, Shard)}
    return {name: place for name, place in found.items() if name not in notes}


def _range(path: str) -> bool:
    return path.endswith(".tar") and ".." in path and not Path(path).exists()


def _behind(url: str, prefix: str, passed: Callable[[str], None]) -> dict[str, Remote | Shard]:
    """The file behind a URL, or the files of the folder there, in order; not hidden or other files."""
    needs("films behind a URL", "ray", "fsspec")
    from fsspec.core import url_to_fs

    try:
        system, path = url_to_fs(url)
        if system.isfile(path):
            name = _name(url)
            return {name: _placed(url, name, system.info(path))}
        below = sorted(system.find(path, detail=True).items())
    except HilumError:
        raise
    except Exception as error:  # each store has its own classes of errors
        known = isinstance(error, ImportError | ValueError)
        reason = str(error).replace(url, plain(url)) if known else type(error).__name__
        raise DataError(f"{plain(url)}: cannot be listed ({reason}); check address and rights") from None
    found: dict[str, Remote | Shard] = {}
    for one, about in below:
        name = str(one).removeprefix(str(path).rstrip("/")).lstrip("/")
        if any(part.startswith(".") for part in PurePosixPath(name).parts):
            continue
        if why := beside(PurePosixPath(name).name):
            passed(why)
        else:
            found[prefix + name] = _placed(_below(url, name), prefix + name, about)
    if not found:
        raise ConfigError(f"{plain(url)}: no film there; give a film, a shard, or a folder that holds some")
    return found


def _name(url: str) -> str:
    """The name of the file or folder at an address: x.png of zip://a/x.png::https://host/films.zip."""
    inner, outer, rest = url.partition("::")
    if not outer:
        return PurePosixPath(urlsplit(url).path).name
    within = inner.partition("://")[2].partition("?")[0]  # nothing in simplecache::https://host/films
    return PurePosixPath(within).name or _name(rest)


def _below(url: str, name: str) -> str:
    """The address of a file below a folder's; host, account and signature stay."""
    inner, outer, rest = url.partition("::")  # as in zip://folder::https://host/films.zip
    if outer and "://" not in inner:  # as in simplecache::https://host/films
        return f"{inner}::{_below(rest, name)}"
    address, asked, query = inner.partition("?")
    scheme, _, place = address.partition("://")  # the place is empty for the root of zip://::https://...
    return f"{scheme}://{place.rstrip('/')}/{name}{asked}{query}{outer}{rest}"


def _placed(url: str, name: str, about: Mapping[str, Any]) -> Remote | Shard:
    told = (about.get(key) for key in ("size", "ETag", "etag", "mtime", "LastModified", "last_modified"))
    mark = " ".join(str(value) for value in told if value is not None)
    if name.endswith(".tar"):
        return Shard(url, name, mark)
    if about.get("size") is None:
        raise DataError(f"{plain(url)}: its server does not tell its size; fetch it first")
    return Remote(url, int(about["size"]), mark)


def _headings(place: Path | str) -> tuple[list[Entry], HilumError | None]:
    """The films of a shard, and the fault that hides others, if any; a URL is tried three times."""
    for wait in (*_TRIES, None):
        found: list[Entry] = []
        fault: HilumError | None
        try:
            found, fault = entries(place, strict=False)
        except MissingExtraError:
            raise
        except HilumError as error:
            fault = error
        if fault is None or wait is None or isinstance(place, Path):
            break
        time.sleep(wait)
    return found, fault


def _fetched(place: Path | str, start: int, size: int) -> bytes:
    """Some of a file's bytes; a URL is tried three times. Raises ReadError."""
    if size > _LARGEST:
        raise ReadError(plain(place), f"a film of over {_LARGEST:,} bytes", "export it compressed")
    waits = iter(_TRIES if isinstance(place, str) else ())
    while True:
        try:
            return cut(place, start, size) if isinstance(place, Path) else _asked(place, start, size)
        except (HilumError, FileNotFoundError, PermissionError) as error:
            raise _unfetched(place, error) from None
        except Exception as error:  # as in `_behind`
            if (wait := next(waits, None)) is None:
                raise _unfetched(place, error) from None
            time.sleep(wait)


def _asked(url: str, start: int, size: int) -> bytes:
    """Exactly those bytes: the read-ahead of an open fsspec file costs more than the film."""
    from fsspec.core import url_to_fs

    system, path = url_to_fs(url)
    data: bytes = system.cat_file(path, start=start, end=start + size)
    if len(data) != size:
        raise DataError(f"{plain(url)}: gave {len(data)} bytes and not {size}; fetch it again")
    return data


def _unfetched(place: Path | str, error: Exception) -> ReadError:
    reason = f"cannot be fetched ({type(error).__name__})"
    return ReadError(plain(place), reason, "check the address and the rights to it")


def _mark(path: Path) -> str:
    try:
        about = path.stat()
    except OSError:
        return "gone"
    return f"{about.st_size} {about.st_mtime_ns}"
