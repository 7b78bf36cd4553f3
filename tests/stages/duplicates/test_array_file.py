"""Arrays come back from a file as they were, and a file that lacks its end is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from stages.duplicates.array_file import read_arrays, write_arrays

ARRAYS = st.dictionaries(
    st.text(min_size=1),
    st.sampled_from(["<u8", "<i8", "<i4", "|u1", "<f8"]).flatmap(
        lambda kind: arrays_of.arrays(np.dtype(kind), arrays_of.array_shapes(max_dims=2, min_side=0, max_side=40))
    ),
    min_size=1,
)


def written(path: Path, arrays: dict[str, np.ndarray]) -> Path:
    with path.open("wb") as file:
        write_arrays(file, arrays)
    return path


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ARRAYS)
def test_arrays_are_read_as_they_were_written(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    read = read_arrays(written(tmp_path / "file", arrays))
    assert [(name, array.dtype, array.shape) for name, array in read.items()] == [
        (name, array.dtype, array.shape) for name, array in arrays.items()
    ]
    assert [array.tobytes() for array in read.values()] == [array.tobytes() for array in arrays.values()]
    assert all(array.ctypes.data % 64 == 0 for array in read.values())


@pytest.mark.parametrize("length", [0, 1, 20, 64, 100, 383])
def test_a_file_without_its_end_is_refused(tmp_path: Path, length: int) -> None:
    path = written(tmp_path / "file", {"some": np.arange(7), "others": np.zeros((2, 16), np.int64)})
    assert path.stat().st_size == 384
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError):
        read_arrays(path)


def test_what_is_written_to_an_array_stays_in_memory(tmp_path: Path) -> None:
    path = written(tmp_path / "file", {"some": np.arange(7)})
    read_arrays(path)["some"][0] = 9
    assert read_arrays(path)["some"].tolist() == [0, 1, 2, 3, 4, 5, 6]
