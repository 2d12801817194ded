"""The commands under ``hilum data``."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from hilum.commands.shared import Names, Out, unreadable
from hilum.progress import AGAIN, progress

data = typer.Typer(
    help="Prepare and check data sets. A data set is named KIND:PATH; join several with +. "
    "Kinds: nih, chexpert, mimic, padchest, vindr, rsna, openi, brax, jsrt, montgomery, "
    "shenzhen, lungmasks, darwin, covidqu, dicom, masks, folder, csv, shards, gate, "
    "pictures, and phantom:COUNT[@SEED] for synthetic films.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@data.command("split")
def data_split(
    names: Names,
    out: Annotated[Path, typer.Option("--out", "-o", help="split file to write (csv: patient, part)")],
    test: Annotated[float, typer.Option(help="share of patients for the test set")] = 0.15,
    folds: Annotated[int, typer.Option(min=2, help="number of folds for the other patients")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="seed of the random assignment")] = 0,
    official: Annotated[
        bool, typer.Option("--official", help="use the data set's official test patients as test set")
    ] = False,
    together: Annotated[
        Path | None,
        typer.Option(help="duplicates.csv of an audit: patients who share a film go to the same part"),
    ] = None,
) -> None:
    """Split patients into test set and folds.

    The parts are balanced by site and label. Public data sets share films: look for them with hilum data
    audit first, and give its result as --together.
    """
    import sys

    from hilum.data import join, open_data
    from hilum.data.split import make_split, official_split, unnamed, write_split
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
    if warning := unnamed(names, samples):
        print(warning, file=sys.stderr)
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
    size: Annotated[int, typer.Option(min=1, help="side of the square films in pixels")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for the caches")] = Path(
        "runs/.hilum-cache"
    ),
) -> None:
    """Decode films once, for faster training.

    Writes memory-mapped arrays, which train finds by itself.
    """
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
    films: Annotated[int, typer.Option(min=1, help="films per shard")] = 1000,
    size: Annotated[
        int, typer.Option(min=0, help="resize films to this side in pixels; 0: keep the original files")
    ] = 0,
) -> None:
    """Write data sets as WebDataset shards.

    Shards are tar files of films and JSON; read them as shards:OUT, or from a web server or object store as
    shards:https://HOST/films-{00000..00012}.tar. Films are stored as the original files, including all
    patient data in their headers, unless --size is given.

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
    every: Annotated[
        bool, typer.Option("--all", help="open every film instead of a random sample of 200")
    ] = False,
) -> None:
    """Count and test the films of data sets.

    Prints the numbers of films, patients, labels and views, opens films to see that they can be read, and
    reports what is missing, skipped, or differs from the publisher's figures. These are compared only if a
    single data set is given. Exit code 1: some films could not be read.
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
    count: Annotated[int, typer.Option(min=1, help="number of films")] = 20,
    seed: Annotated[int, typer.Option(min=0, help="the same seed gives the same films")] = 0,
) -> None:
    """Draw synthetic films with known truth.

    Writes images/, masks/ (lungs and heart) and labels.csv (findings).
    """
    from hilum.data.phantom import write

    with progress("drawing") as tick:
        write(out, count=count, seed=seed, tick=tick)
    print(f"{out}\t{count} films")


@data.command("outline")
def data_outline(
    names: Names,
    out: Out,
    model: Annotated[
        str, typer.Option(help="segmentation model: a shipped name, a checkpoint folder or hf://owner/name")
    ] = "hilum-lungs",
    least: Annotated[
        float, typer.Option(help="minimum quality (expected Dice, 0 to 1) of a mask to keep")
    ] = 0.9,
    split: Annotated[Path | None, typer.Option(help="patient split; its test patients are skipped")] = None,
) -> None:
    """Segment a data set, to train on the masks.

    Adds the masks that films lack, and keeps the films whose masks are reliable, to train on as
    csv:OUT/outlined.csv. A film's own masks are kept; the model adds the missing structures if the two
    agree on the others. Repeat the command to resume. Exit code 1: some films could not be read.

    Examples:
      hilum data outline nih:films --split splits/nih.csv --out runs/pseudo
      hilum train configs/hilum-lungs.toml 'extra=["csv:runs/pseudo/outlined.csv"]'
    """
    import json
    import sys

    from hilum.data import join, open_data, short
    from hilum.data.outlining import outline_films
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
    runtime = Runtime(find(model), threads=1)  # one film per core
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
        typer.Option(help="secret key file, created if missing; default ~/.config/hilum/import.key"),
    ] = None,
    size: Annotated[
        int,
        typer.Option(min=0, help="resize so that the longest side has this many pixels; 0: keep the size"),
    ] = 0,
    keep_flagged: Annotated[
        bool,
        typer.Option("--keep-flagged", help="keep films that may have burned-in annotations, and mark them"),
    ] = False,
    keep_dicom: Annotated[
        bool, typer.Option("--keep-dicom", help="also write de-identified DICOM copies (needs hilum[deid])")
    ] = False,
    device: Annotated[
        bool, typer.Option("--device", help="keep manufacturer and model name, two free-text fields")
    ] = False,
    mapping: Annotated[
        Path | None,
        typer.Option(help="write the table of pseudonyms and patients here; keep it in the hospital"),
    ] = None,
) -> None:
    """Make a de-identified data set from DICOM.

    Takes the frontal chest films of DICOM studies; open the result as csv:OUT/films.csv. Header fields are
    kept by an allow-list, patients and studies get pseudonyms from a keyed hash, and films that may have
    burned-in annotations are left out. OUT/left-out.csv lists what was left out, and why. Look at the films
    before you share them. Repeat the command to resume, or later to add new films. Exit code 1: some films
    could not be read, were flagged or refused, or none was found.

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
