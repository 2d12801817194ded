"""Pictures that are no chest films: from packages, and drawn."""

from __future__ import annotations

import numpy as np
import pytest

from hilum.data import open_data, pictures
from hilum.data.opened import pixels_of
from hilum.data.wrong import OTHER
from hilum.errors import DataError


def test_every_picture_can_be_opened_and_no_two_are_alike() -> None:
    pytest.importorskip("skimage", reason="no pictures to open: pip install scikit-image")
    samples = open_data("pictures:60@3")
    names = {sample.patient for sample in samples}
    assert len(names) > 45 and {"pictures:camera.png", "pictures:RG3_UNCR.dcm", "pictures:limb"} <= names
    seen = set()
    for sample in samples:
        part = pixels_of(sample.image)
        assert part.dtype == np.float32 and part.min() >= 0 and part.max() <= 1
        assert min(part.shape) >= 32
        assert sample.labels[OTHER] == 1 and sum(sample.labels.values()) == 1
        seen.add(part.tobytes())
    assert len(seen) == len(samples)
    np.testing.assert_array_equal(pixels_of(samples[5].image), pixels_of(open_data("pictures:60@3")[5].image))


@pytest.mark.parametrize("name", pictures._DRAWN)
def test_what_is_drawn_is_a_picture_that_follows_from_its_seed(name: str) -> None:
    one, same, other = (pictures._DRAWN[name](np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert one.dtype == np.float32 and 0 <= one.min() < one.max() <= 1
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_a_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pictures, "find_spec", lambda _: None)
    with pytest.raises(DataError, match="needs the package scikit-image; pip install scikit-image"):
        open_data("pictures:9")


@pytest.mark.parametrize("spec", ["", "many", "3@", "-1"])
def test_a_malformed_number_is_refused(spec: str) -> None:
    with pytest.raises(DataError, match="write pictures:COUNT"):
        open_data(f"pictures:{spec}")
