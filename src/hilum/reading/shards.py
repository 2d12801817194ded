"""WebDataset shards: tar files of films and their JSON, on a disk or behind a URL.

A film ``KEY`` is the members ``KEY.png`` (or jpg, jpeg, tif, tiff, dcm, dicom, or without an ending),
``KEY.json`` with facts about it, and ``KEY.mask.png`` if it has a mask.
Source: the WebDataset format, github.com/webdataset/webdataset.
"""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeAlias

from hilum.errors import DataError, HilumError, MissingExtraError
from hilum.reading.files import FILMS, beside

_MASK = ".mask.png"
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_LONGEST = 1_000_000  # bytes of a film's JSON

Place: TypeAlias = tuple[int, int]
"""Place of a member in its shard: first byte, and number of bytes."""

Shard: TypeAlias = Path | str
"""A file, or a URL."""


def shards(path: str) -> list[Shard]:
    """The shards that a name stands for."""
    if several := _RANGE.search(path):
        first, last = several.groups()
        numbers = (str(number).zfill(len(first)) for number in range(int(first), int(last) + 1))
        paths = [path.replace(several[0], number) for number in numbers]
    elif "://" in path or path.endswith(".tar"):
        paths = [path]
    else:
        paths = sorted(map(str, Path(path).glob("*.tar")))
    if not paths:
        raise DataError(
            f"{plain(path)}: no *.tar there; give a folder of shards, one of them, or name-{{000..012}}.tar"
        )
    return [one if "://" in one else Path(one) for one in paths]


@dataclass(frozen=True, slots=True)
class Entry:
    """A film of a shard: film and mask as first byte and number of bytes."""

    name: str  # of the film's member
    film: Place
    mask: Place | None
    about: dict[str, Any]

    @property
    def key(self) -> str:
        """The common part of the names of the film's members."""
        return _stem(self.name)


def entries(shard: Shard, *, strict: bool = True) -> tuple[list[Entry], DataError | None]:
    """The films of a shard in its order, and the error that ended the list too early, or None.

    JSON that cannot be read raises DataError if `strict`, and is skipped otherwise.
    """
    films: dict[str, Place] = {}
    masks: dict[str, Place] = {}
    abouts: dict[str, dict[str, Any]] = {}
    places: dict[str, Place | None] = {}
    try:
        with opened(shard) as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for info in tar:
                path = PurePosixPath(info.name)
                place = (info.offset_data, info.size) if info.isfile() else None
                if info.islnk():  # a second name of a file, which comes earlier
                    place = places.get(info.linkname)
                places[info.name] = place
                if place is None or path.name.startswith("."):
                    continue
                if path.suffix == ".json":
                    with nullcontext() if strict else suppress(DataError):
                        abouts[str(path.with_suffix(""))] = _json(shard, info, tar)
                elif info.name.endswith(_MASK):
                    masks[str(path).removesuffix(_MASK)] = place
                elif not beside(path.name):
                    films[info.name] = place
            # tarfile stops silently at damage.
            why = "" if _ends(file, tar.offset) else "no end of the archive where its headings stop"
    except FileNotFoundError:
        return [], DataError(f"{plain(shard)}: no such file; check the path")
    except (OSError, tarfile.TarError, EOFError) as error:
        # The message of a store may contain a secret.
        why = (isinstance(shard, Path) and str(error)) or type(error).__name__
    fault = f"{plain(shard)}: no tar file, damaged, or cut short ({why}); fetch it again" if why else ""
    return [
        Entry(name, place, masks.get(_stem(name)), abouts.get(_stem(name)) or abouts.get(_root(name), {}))
        for name, place in films.items()
    ], DataError(fault) if fault else None


def _ends(file: IO[bytes], offset: int) -> bool:
    """Whether only zeros, at least a block of them, follow after `offset`, as at the end of a tar file."""
    file.seek(offset)
    zeros = 0
    while some := file.read(2**20):
        if some.strip(b"\0"):
            return False
        zeros += len(some)
    return zeros >= tarfile.BLOCKSIZE


def _stem(name: str) -> str:
    """The name without a film's ending; another suffix is part of the name and stays."""
    path = PurePosixPath(name)
    return str(path.with_suffix("") if path.suffix.lower() in FILMS else path)


def _root(name: str) -> str:
    """The name up to its first dot, which is the key in WebDataset."""
    path = PurePosixPath(name)
    return str(path.with_name(path.name.partition(".")[0]))


def plain(place: Shard) -> str:
    """A path, or a URL without what may be secret: everything after "?", user name and password."""
    url = str(place)
    if "::" in url and "://" in url:  # a nested URL such as zip://film.png::https://host/films.zip
        return "::".join(map(plain, url.split("::")))
    if "://" not in url:
        return url
    scheme, _, rest = url.partition("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def _json(shard: Shard, info: tarfile.TarInfo, tar: tarfile.TarFile) -> dict[str, Any]:
    about = None
    if info.size <= _LONGEST and (member := tar.extractfile(info)):
        with suppress(ValueError, RecursionError):
            about = json.loads(member.read(_LONGEST))  # of a link, the size is 0
    if not isinstance(about, dict):
        raise DataError(
            f"{plain(shard)}, {info.name}: not a JSON object; write the facts about one film as one object"
        )
    return about


def cut(shard: Shard, start: int, size: int) -> bytes:
    """A part of a file, on a disk or behind a URL. Raises DataError if the file is shorter."""
    with opened(shard) as file:
        file.seek(start)
        data = file.read(size)
    if len(data) < size:
        raise DataError(f"{plain(shard)}: ends too early; fetch it again")
    return data


@contextmanager
def opened(shard: Shard) -> Iterator[IO[bytes]]:
    """An open file, from a disk or behind a URL; raises DataError, MissingExtraError and OSError."""
    if isinstance(shard, Path):
        with shard.open("rb") as file:
            yield file
        return
    try:
        import fsspec
    except ModuleNotFoundError:
        raise MissingExtraError("films behind a URL", "ray") from None
    try:
        with fsspec.open(shard, "rb") as file:
            yield file
    except (HilumError, OSError, EOFError, tarfile.TarError):
        raise
    except Exception as error:  # each store has its own exception classes
        known = isinstance(error, ImportError | ValueError)
        why = str(error).replace(shard, plain(shard)) if known else f"cannot be read ({type(error).__name__})"
        raise DataError(f"{plain(shard)}: {why}; check the address and the rights to it") from None
