import numpy as np
import pytest
from scipy.special import expit

from batchscore.kernel import compiled, sigmoid, without
from batchscore.kernel import library as shared

pytestmark = pytest.mark.usefixtures("needs_kernel")


def values() -> np.ndarray:
    """Return a million values: of any bits, of ordinary size, and edges."""
    chance = np.random.default_rng(3)
    bits = chance.integers(0, 2**64, 250_000, dtype=np.uint64).view(np.float64)
    edges = [0.0, -0.0, 5e-324, np.inf, -np.inf, np.nan, 709.78, -709.79, 745.2, -745.2, 36.7, -36.8, 1e308, -1e308]
    return np.concatenate([bits, chance.normal(size=500_000) * 20, chance.uniform(-800, 800, 250_000), edges])


def test_sigmoid_is_scipys() -> None:
    """The compiled sigmoid has the bits of scipy's on a million values of all sizes."""
    given = values()

    found, expected = sigmoid(given), expit(given)

    # A NaN is a NaN, whatever its payload.
    assert np.array_equal(np.isnan(found), np.isnan(expected))
    assert found[~np.isnan(found)].tobytes() == expected[~np.isnan(expected)].tobytes()


def test_sigmoid_without_kernel_is_the_same() -> None:
    """Where nothing was compiled the same bits come from scipy, for any shape and order."""
    given = np.asfortranarray(np.random.default_rng(0).normal(size=(300, 3)) * 9)

    with without():
        assert not compiled()[0]
        expected = sigmoid(given)

    assert sigmoid(given).tobytes() == expected.tobytes()
    assert sigmoid(given).shape == given.shape


def test_another_source_is_not_run(tmp_path) -> None:
    """A library that was built from another source than the one beside it is not used."""
    folder = tmp_path
    for name in (*shared.SOURCES, shared.NAME):
        (folder / name).write_bytes((shared.FOLDER / name).read_bytes())
    assert shared.opened(folder)[0] is not None
    (folder / "kernel.c").write_text("/* another */")

    found, reason = shared.opened(folder)

    assert found is None
    assert reason == "it was built from another source: install batchscore again"


def test_no_library_is_no_error(tmp_path) -> None:
    """Without the file there is a reason, not an exception."""
    assert shared.opened(tmp_path) == (None, "it was not built: no C compiler")
