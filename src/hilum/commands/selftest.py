"""The verb that checks an installation, selftest: thin, as in `hilum.cli`."""

from __future__ import annotations

import typer


def selftest() -> None:
    """Run the shipped models on generated films and hold the outputs against those of the release.

    Prints versions, then a line for each check: the models' files, calls, probabilities, outlines, ratio and
    evidence of four films, and an image in ten DICOM transfer syntaxes. Needs no network and no torch.
    Exit code 0: all passed; 1: some did not, and their results are not to be relied on.
    """
    from hilum.selftest import checks, versions

    for name, value in versions().items():
        print(f"{name:24}{value}")
    print()
    done = []
    for check in checks():
        done.append(check)
        word = "pass" if check.passed else "FAIL"
        print(f"{word}  {check.what:44}{check.found:36}{check.allowed:14}{1000 * check.seconds:6.0f} ms")
    failed = sum(not check.passed for check in done)
    seconds = sum(check.seconds for check in done)
    print(f"\n{len(done) - failed} of {len(done)} checks passed in {seconds:.1f} s")
    raise typer.Exit(1 if failed else 0)
