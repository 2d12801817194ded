"""The command push."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def push(
    model: Annotated[
        str, typer.Argument(help="folder of a run or checkpoint, or the name of a shipped model")
    ],
    repo: Annotated[str, typer.Argument(help="repository on the Hugging Face hub, owner/name")],
    figures: Annotated[
        list[Path] | None, typer.Option(help="figures.csv of an evaluation, to show on the page; repeatable")
    ] = None,
    licence: Annotated[
        str, typer.Option(help="licence of the model, by the hub's identifier: cc-by-4.0, apache-2.0, ...")
    ] = "",
    public: Annotated[bool, typer.Option("--public", help="make a new repository public")] = False,
) -> None:
    """Upload a model to the Hugging Face hub.

    Uploads the model and its page, and prints the name to load it by. Log in with `hf auth login` or set
    HF_TOKEN. A new repository is private unless you give --public.

    Example:
      hilum push runs/mine acme/chest --figures runs/test/figures.csv --licence apache-2.0
      hilum predict films/ --out results --model hf://acme/chest
    """
    from hilum.hub_upload import push_to_hub

    print(push_to_hub(model, repo, figures=figures or (), licence=licence, private=not public))
