"""Checkpoints on the Hugging Face hub: ``hf://owner/name[@revision]`` becomes a folder on this machine."""

from __future__ import annotations

import re
from pathlib import Path

from hilum import __version__
from hilum.card import CARD, read_card
from hilum.errors import CheckpointError, HilumError, MissingExtraError

SCHEME = "hf://"

_PLACE = re.compile(r"(?!.*\.\.)(\w[\w.-]*/\w[\w.-]*)(?:@(\w[\w./-]*))?", re.ASCII)


def place(name: str) -> tuple[str, str | None]:
    """``owner/name`` and the revision (a branch, tag or commit) of a name with or without ``hf://``.

    Raises CheckpointError for any other form.
    """
    found = _PLACE.fullmatch(name.removeprefix(SCHEME))
    if not found:
        raise CheckpointError(f"{name}: no model's name; write hf://owner/name or hf://owner/name@revision")
    return found[1], found[2]


def download(name: str) -> Path:
    """The folder of the checkpoint `name`, downloaded unless the hub's cache has it.

    Only the card and the files that it names are downloaded. They are checked against the card's hashes when
    they are opened, as in any folder; none of them can be code. Without a connection the cache is used.
    Raises CheckpointError, and MissingExtraError without huggingface_hub.
    """
    repo, revision = place(name)
    folder = _fetched(name, repo, revision, [CARD])
    if not (folder / CARD).is_file():
        raise CheckpointError(f"{name}: not a Hilum checkpoint, for it has no {CARD}; give another model")
    files = read_card(folder).files
    return _fetched(name, repo, folder.name, [CARD, *files])  # of the same commit: the folder's name


def _fetched(name: str, repo: str, revision: str | None, files: list[str]) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ModuleNotFoundError:
        raise MissingExtraError("a model on the hub", "hub") from None
    try:
        folder = snapshot_download(
            repo,
            revision=revision,
            allow_patterns=files,
            library_name="hilum",
            library_version=__version__,
        )
    except Exception as error:  # errors of the client, of HTTP below it, and of the disk
        raise refused(name, error) from None
    return Path(folder)


def refused(name: str, error: Exception) -> HilumError:
    """An error of the hub's client in our words: its own messages quote addresses, which may hold secrets."""
    from huggingface_hub import errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    match error:
        case errors.HFValidationError():
            why = "no name that the hub allows; write hf://owner/name"
        case errors.GatedRepoError():
            why = "its owner has conditions; accept them on its page, then run: hf auth login"
        case errors.RepositoryNotFoundError():
            why = "no such model, or a private one; check the name, or run: hf auth login"
        case errors.RevisionNotFoundError():
            why = "no such revision; give one of its branches, tags or commits"
        case errors.LocalEntryNotFoundError():
            why = "the hub cannot be reached, and its cache here has no whole copy; go online and try again"
        case errors.LocalTokenNotFoundError():
            why = "the hub asks who you are; run: hf auth login"
        case _ if status in (401, 403):
            why = "the hub does not allow you that; run hf auth login with a token that may write"
        case _:
            why = "the exchange with the hub failed; check the connection and the disk, and try again"
    told = f"{type(error).__name__}, status {status}" if status else type(error).__name__
    return CheckpointError(f"{name}: {why} ({told})")
