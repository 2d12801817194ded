"""The command selftest."""

from __future__ import annotations

import typer


def selftest() -> None:
    """Check that this installation works.

    Runs the shipped models on synthetic films and compares the results with those of the release. Prints
    the versions, then one line per check: model files; calls, probabilities, masks, ratio and evidence maps
    of four films; an image in ten DICOM transfer syntaxes. Needs neither network nor torch.
    Exit code 0: all checks passed; 1: some failed, do not rely on this installation's results.
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
