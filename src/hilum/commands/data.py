"""The verbs under ``hilum data``: thin, as in `hilum.cli`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hilum.commands.shared import Names, Out, unreadable
from hilum.progress import AGAIN, progress

data = typer.Typer(
    help="Data sets, named KIND:PATH, several with + between: nih, chexpert, mimic, padchest, vindr, rsna, "
    "openi, brax, jsrt, montgomery, shenzhen, lungmasks, darwin, covidqu, dicom, masks, folder, csv, shards, "
    "or phantom:COUNT[@SEED] (generated films).",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@data.command("split")
def data_split(
    names: Names,
    out: Annotated[Path, typer.Option("--out", "-o", help="the split file to write (csv: patient, part)")],
    test: Annotated[float, typer.Option(help="share of the patients frozen as test")] = 0.15,
    folds: Annotated[int, typer.Option(min=2, help="folds among the others")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="of the draw")] = 0,
    official: Annotated[
        bool, typer.Option("--official", help="test patients are those of the data set's own test part")
    ] = False,
    together: Annotated[
        Path | None, typer.Option(help="duplicates.csv of an audit: patients who share a film share a part")
    ] = None,
) -> None:
    """Deal patients to a test part and folds, alike in sites and labels, and write the split file.

    Public data sets re-publish one another: look for shared films with hilum data audit beforehand.
    """
    import sys

    from hilum.data import join, open_data
    from hilum.data.split import make_split, official_split, write_split
    from hilum.data.ties import read_together
    from hilum.errors import ConfigError

    if out.exists():
        raise ConfigError(f"{out}: exists; a split is made once, so remove it yourself to make another")
    samples, ties = join([open_data(name) for name in names]), read_together(together) if together else []
    if together is None and (len(names) > 1 or len({sample.site for sample in samples}) > 1):
        print(
            "no --together: a film may stand in several of these data sets, and so train and test; find such "
            "films with 'hilum data audit NAME... --out DIR' and give --together DIR/duplicates.csv",
            file=sys.stderr,
        )
    deal = official_split if official else partial(make_split, test=test)
    split = deal(samples, folds=folds, seed=seed, together=ties)
    if str(folds - 1) not in split.parts.values():
        raise ConfigError(f"--folds {folds}: more than there are patients for; give fewer, or more films")
    write_split(split, out)
    for part in sorted(set(split.parts.values())):
        print(f"{part}\t{list(split.parts.values()).count(part)} patients")
    print(f"sha256\t{split.sha256}")


@data.command("cache")
def data_cache(
    names: Names,
    size: Annotated[int, typer.Option(min=1, help="side of the square films, pixels")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder of caches")] = Path("runs/.hilum-cache"),
) -> None:
    """Decode films once, to train from memory-mapped arrays."""
    from hilum.data import join, open_data
    from hilum.data.cache import cached

    with progress("decoding") as tick:
        cache = cached(join([open_data(name) for name in names]), size, out, tick=tick)
    print(f"films\t{len(cache.samples)}")
    raise typer.Exit(unreadable(cache.failures.values()))


@data.command("shards")
def data_shards(
    names: Names,
    out: Out,
    films: Annotated[int, typer.Option(min=1, help="films a shard")] = 1000,
    size: Annotated[int, typer.Option(min=0, help="side to which films are stretched; 0: as they are")] = 0,
) -> None:
    """Write data sets as WebDataset shards, tar files of films and JSON, to read as shards:OUT.

    Films go in as their files are, headers with all they say of a patient included, unless --size is given.
    Shards may lie on a web server or in an object store: shards:https://HOST/films-{00000..00012}.tar.

    Example:
      hilum data shards nih:films --size 224 --out shards
    """
    from hilum.data import join, listing
    from hilum.data.shard_writer import write

    with progress("writing shards") as tick:
        samples = join([listing(name).samples for name in names])
        failures = write(samples, out, films=films, size=size, tick=tick)
    print(f"films\t{len(samples) - len(failures)}")
    raise typer.Exit(unreadable(failures.values()))


@data.command("check")
def data_check(
    names: Names,
    every: Annotated[bool, typer.Option("--all", help="open every film rather than 200 drawn ones")] = False,
) -> None:
    """Count films, patients, labels and views, open films to see that they can be read, and tell what is
    missing, passed over or unlike the makers' figures.

    Figures are compared for one data set at a time. Exit code 1: some films could not be read.
    """
    from hilum.data import listing, together
    from hilum.data.check import check

    with progress("opening films") as tick:
        found = check(together([listing(name) for name in names]), every=every, tick=tick)
    for key, value in found.counts.items():
        print(f"{key}\t{value}")
    for what in found.unlike:
        print(f"unlike\t{what}")
    raise typer.Exit(unreadable(found.failures))


@data.command("phantom")
def data_phantom(
    out: Out,
    count: Annotated[int, typer.Option(min=1, help="films to draw")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="the same seed draws the same films")] = 0,
) -> None:
    """Draw chest films with known lungs, heart and findings: images/, masks/ and labels.csv."""
    from hilum.data.phantom import write

    with progress("drawing") as tick:
        drawn = iter(range(1, count + 1))
        write(out, count=count, seed=seed, tick=lambda: tick(next(drawn), count, ""))
    print(f"{out}\t{count} films")


@data.command("outline")
def data_outline(
    names: Names,
    out: Out,
    model: Annotated[str, typer.Option(help="a segmenter's name or its checkpoint's folder")] = "hilum-lungs",
    least: Annotated[float, typer.Option(help="lowest quality, 0 to 1, of an outline that is kept")] = 0.9,
    split: Annotated[Path | None, typer.Option(help="patient split; its test patients are left out")] = None,
) -> None:
    """Outline what no mask shows and keep the films that can be trusted, to train on as csv:OUT/outlined.csv.

    A film's own mask stays as it is; the model adds the structures that it lacks where the two agree on the
    others. A killed run goes on where it stood. Exit code 1: some films could not be read.

    Examples:
      hilum data outline nih:films --split splits/nih.csv --out runs/pseudo
      hilum train configs/hilum-lungs.toml 'extra=["csv:runs/pseudo/outlined.csv"]'
    """
    import json
    import sys

    from hilum.data import join, open_data, short
    from hilum.data.pseudo import outline_films
    from hilum.data.split import read_split, select
    from hilum.reporting.report import identity
    from hilum.runtime import Runtime, find
    from hilum.store import write_whole

    samples = join([open_data(name) for name in names])
    if split is None:
        print("no --split: films held back for tests may be among these", file=sys.stderr)
    else:
        parts = read_split(split)
        samples = [s for part in ("train", "tune") for s in select(samples, parts, part)]
    runtime = Runtime(find(model), threads=1)  # a film a core
    with progress("outlining", again=AGAIN) as tick:
        counts, failures = outline_films(runtime, samples, out, least=least, tick=tick)
    about = {
        "model": identity(runtime.card),
        "data": [short(name) for name in names],
        "least": least,
        **counts,
    }
    about["split_sha256"] = parts.sha256 if split is not None else None
    write_whole(out / "outlined.json", json.dumps(about, indent=2) + "\n")
    for what in ("kept", "unsure", "complete"):
        print(f"{what}\t{counts[what]}")
    raise typer.Exit(unreadable(failures))


@data.command("import")
def data_import(
    places: Annotated[list[Path], typer.Argument(metavar="DICOM_DIR...", help="folders of DICOM studies")],
    out: Out,
    key: Annotated[
        Path | None,
        typer.Option(help="file of the secret key, made if not there; without it ~/.config/hilum/import.key"),
    ] = None,
    size: Annotated[int, typer.Option(min=0, help="longest side, pixels; 0: as the films are")] = 0,
    keep_flagged: Annotated[
        bool, typer.Option("--keep-flagged", help="keep films that may carry burnt-in words, and say so")
    ] = False,
    keep_dicom: Annotated[
        bool, typer.Option("--keep-dicom", help="write de-identified DICOM copies too (hilum[deid])")
    ] = False,
    device: Annotated[
        bool, typer.Option("--device", help="keep manufacturer and model, two fields of free text")
    ] = False,
    mapping: Annotated[
        Path | None, typer.Option(help="table that leads back to the patients; keep it in the hospital")
    ] = None,
) -> None:
    """Make a data set of the frontal films among DICOM studies, de-identified, to open as csv:OUT/films.csv.

    Header fields are kept by an allow-list, patients and studies get pseudonyms by a keyed hash, films that
    may carry burnt-in words are left out. OUT/left-out.csv tells what else was, and why. Look at the films
    before you share them. A killed import goes on where it stood; a later one adds what is new. Exit code 1:
    some films could not be read, were flagged or refused, or none was found.

    Example:
      hilum data import studies --out ours --mapping /secure/ours.csv
    """
    from hilum.data.importing import Options, import_studies, rejected
    from hilum.data.pseudonyms import default_key, key_of
    from hilum.data.study_files import check_mapping, check_outside, write_mapping

    file = key or default_key()
    check_outside(file, out, "--key")
    if mapping is not None:
        check_outside(mapping, out, "--mapping")
        check_mapping(mapping)
    secret = key_of(file)
    options = Options(size=size, keep_flagged=keep_flagged, keep_dicom=keep_dicom, device=device)
    with progress("importing") as tick:
        found = import_studies(places, out, secret, options, tick=tick)
    if mapping is not None:
        write_mapping(mapping, places, out, secret)
    for what in ("files", "films", "patients", "studies"):
        print(f"{what}\t{found[what]}")
    for why, count in found["left_out"].items():
        print(f"left out\t{count}\t{why}")
    raise typer.Exit(1 if not found["films"] or any(map(rejected, found["left_out"])) else 0)
