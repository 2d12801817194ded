"""A checkpoint onto the Hugging Face hub, with its model's page."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from hilum import __version__
from hilum.card import CARD, Card, read_card
from hilum.errors import CheckpointError, MissingExtraError
from hilum.hub import SCHEME, place, refused
from hilum.reporting.model_page import page
from hilum.runtime import find


def push_to_hub(
    model: str | Path, repo: str, *, figures: Sequence[Path] = (), licence: str = "", private: bool = True
) -> str:
    """Upload a checkpoint to ``owner/name``, all files in one commit; returns ``hf://owner/name@commit``.

    The model's page, README.md, is made of the card and of `figures`, tables that `hilum evaluate` wrote;
    `licence` is the hub's short name of one, such as ``cc-by-4.0``. A repository is made if there is none,
    `private` or not; one that exists keeps its visibility. Who you are, `hf auth login` or HF_TOKEN tells.
    Raises CheckpointError, ConfigError for what no page can be made of, and MissingExtraError.
    """
    name, revision = place(repo)
    if revision:
        raise CheckpointError(f"{repo}: a push makes a new revision; give owner/name alone")
    folder = find(model)
    card = read_card(folder)
    readme = page(card, figures, model=SCHEME + name, licence=licence)
    sound = _sound(folder, card)
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
    except ModuleNotFoundError:
        raise MissingExtraError("a push to the hub", "hub") from None
    files = {"README.md": readme.encode(), **{one: (folder / one).read_bytes() for one in sound}}
    added = [CommitOperationAdd(path_in_repo=one, path_or_fileobj=data) for one, data in files.items()]
    client = HfApi(library_name="hilum", library_version=__version__)
    try:
        client.create_repo(name, private=private, exist_ok=True)
        done = client.create_commit(name, added, commit_message=f"{card.name} {card.version}")
    except Exception as error:  # the client's, and those of HTTP below it
        raise refused(SCHEME + name, error) from None
    return f"{SCHEME}{name}@{done.oid}"


def _sound(folder: Path, card: Card) -> list[str]:
    """The checkpoint's files, each the one that its card names."""
    here = [name for name in card.files if (folder / name).is_file()]  # weights may have been left out
    if "model.onnx" not in here:
        raise CheckpointError(f"{folder}: no model.onnx; restore the checkpoint folder")
    for name in here:
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != card.files[name]:
            raise CheckpointError(f"{folder / name}: not the file its card names; restore it before a push")
    return [CARD, *here]
