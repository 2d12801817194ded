"""The verb that shares a model, push: thin, as in `hilum.cli`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def push(
    model: Annotated[str, typer.Argument(help="a run's or checkpoint's folder, or a shipped model's name")],
    repo: Annotated[str, typer.Argument(help="owner/name on the Hugging Face hub")],
    figures: Annotated[
        list[Path] | None, typer.Option(help="figures.csv of an evaluation, for the page; may be repeated")
    ] = None,
    licence: Annotated[str, typer.Option(help="the hub's short name of it, such as cc-by-4.0")] = "",
    public: Annotated[
        bool, typer.Option("--public", help="for all to see, if the repository is new")
    ] = False,
) -> None:
    """Upload a model and its page to the Hugging Face hub; prints the name to load it by.

    Who you are, `hf auth login` or HF_TOKEN tells. A new repository is private without --public.

    Example:
      hilum push runs/mine acme/chest --figures runs/test/figures.csv --licence apache-2.0
      hilum predict films/ --out results --model hf://acme/chest
    """
    from hilum.hub_upload import push_to_hub

    print(push_to_hub(model, repo, figures=figures or (), licence=licence, private=not public))
