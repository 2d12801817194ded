"""Uploads a checkpoint to the Hugging Face hub, with a page for the model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hilum import __version__
from hilum.card import CARD, Card, read_card
from hilum.errors import CheckpointError, MissingExtraError
from hilum.hub import SCHEME, place, refused
from hilum.reporting.model_page import page
from hilum.runtime import checked, find


def push_to_hub(
    model: str | Path, repo: str, *, figures: Sequence[Path] = (), licence: str = "", private: bool = True
) -> str:
    """Upload a checkpoint to ``owner/name``, all files in one commit; returns ``hf://owner/name@commit``.

    The model's page, README.md, is made from the card and `figures`, tables written by `hilum evaluate`.
    `licence` is the hub's short name for a licence, such as ``cc-by-4.0``. A missing repository is created,
    `private` or not; an existing one keeps its visibility. Credentials come from `hf auth login` or HF_TOKEN.
    Raises CheckpointError, ConfigError if no page can be made, and MissingExtraError.
    """
    name, revision = place(repo)
    if revision:
        raise CheckpointError(f"{repo}: a push makes a new revision; give owner/name alone")
    folder = find(model)
    card = read_card(folder)
    readme = page(card, figures, model=SCHEME + name, licence=licence)
    files = {"README.md": readme.encode(), **_sound(folder, card)}
    try:
        from huggingface_hub import CommitOperationAdd, HfApi
    except ModuleNotFoundError:
        raise MissingExtraError("a push to the hub", "hub") from None
    added = [CommitOperationAdd(path_in_repo=one, path_or_fileobj=data) for one, data in files.items()]
    client = HfApi(library_name="hilum", library_version=__version__)
    try:
        client.create_repo(name, private=private, exist_ok=True)
        done = client.create_commit(name, added, commit_message=f"{card.name} {card.version}")
    except Exception as error:  # errors of the client, and of HTTP below it
        raise refused(SCHEME + name, error) from None
    return f"{SCHEME}{name}@{done.oid}"


def _sound(folder: Path, card: Card) -> dict[str, bytes]:
    """The checkpoint's files by name, each checked against the card."""
    here = [
        name for name in card.files if (folder / name).is_file()
    ]  # a light install has no weights for training
    if "model.onnx" not in here:
        raise CheckpointError(f"{folder}: no model.onnx; restore the checkpoint folder")
    return {CARD: (folder / CARD).read_bytes(), **{name: checked(folder / name, card) for name in here}}
