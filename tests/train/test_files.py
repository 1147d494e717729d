"""Arrays in safetensors files: what is saved comes back, whole or not at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from graphc.errors import DTypeError, GraphcError, InputError
from graphc.train.files import (
    DTYPES,
    ArraysFormatError,
    MissingArraysError,
    WriteError,
    check_place,
    load_arrays,
    save_arrays,
)


@pytest.mark.parametrize("dtype", DTYPES.values())
def test_round_trip(tmp_path: Path, dtype: str) -> None:
    values = np.arange(6).reshape(2, 3).astype(dtype)
    arrays = {
        "matrix": values,
        "scalar": values[1, 1].reshape(()),
        "none": values[:, :0],
        "": values,
    }
    save_arrays(tmp_path / "a", arrays, {"key": "välue", "": ""})
    found, metadata = load_arrays(tmp_path / "a")
    assert metadata == {"key": "välue", "": ""} and found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.writeable and found[name].flags.owndata


def test_special_values_keep_their_bits(tmp_path: Path) -> None:
    values = np.array([np.nan, -np.nan, np.inf, -0.0, 5e-324])
    save_arrays(tmp_path / "a", {"x": values})
    assert load_arrays(tmp_path / "a")[0]["x"].tobytes() == values.tobytes()


def test_any_layout_and_byte_order(tmp_path: Path) -> None:
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    arrays = {"t": base.T, "step": base[:, ::-2], "big": base.astype(">f4")}
    save_arrays(tmp_path / "a", arrays)
    found, metadata = load_arrays(tmp_path / "a")
    assert metadata == {}
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == np.float32 and found[name].flags.c_contiguous


def test_other_programs_read_it(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a.safetensors", {"x": np.eye(2)})
    np.testing.assert_array_equal(load_file(tmp_path / "a.safetensors")["x"], np.eye(2))


def test_nothing_at_all(tmp_path: Path) -> None:
    for metadata in ({}, {"key": "value"}):
        save_arrays(tmp_path / "a", {}, metadata)
        assert load_arrays(tmp_path / "a") == ({}, metadata)


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_failure_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no space left on device")

    save_arrays(tmp_path / "a", {"x": np.zeros(3)})
    monkeypatch.setattr(os, moment, refuse)
    for name in ("a", "b"):
        with pytest.raises(WriteError, match=f"cannot save {tmp_path / name}: no space left"):
            save_arrays(tmp_path / name, {"x": np.ones(3)})
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert load_arrays(tmp_path / "a")[0]["x"].tolist() == [0, 0, 0]


def test_what_cannot_be_stored_is_refused_before_writing(tmp_path: Path) -> None:
    for array in (np.zeros(2, complex), np.array(["a"]), np.array([None])):
        with pytest.raises(DTypeError, match=r"'model\.w'"):
            save_arrays(tmp_path / "a", {"model.w": array})
    with pytest.raises(InputError, match="__metadata__"):
        save_arrays(tmp_path / "a", {"__metadata__": np.zeros(2)})
    with pytest.raises(InputError, match="metadata must map strings to strings, got 'epoch': 3"):
        save_arrays(tmp_path / "a", {}, {"epoch": 3})  # type: ignore[dict-item]  # under test
    assert list(tmp_path.iterdir()) == []


def test_places_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(MissingArraysError, match="there is no folder"):
        save_arrays(tmp_path / "nowhere" / "a", {})
    with pytest.raises(InputError, match="it is a folder"):
        save_arrays(tmp_path, {})
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(FileNotFoundError, match="there is no such file") as error:
            load_arrays(path)
        assert isinstance(error.value, GraphcError)


def test_a_place_is_tried_before_there_is_anything_to_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text("kept")
    check_place(tmp_path / "a")
    check_place(tmp_path / "b")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "kept"
    with pytest.raises(MissingArraysError, match="there is no folder"):
        check_place(tmp_path / "nowhere" / "a")
    with pytest.raises(InputError, match="it is a folder"):
        check_place(tmp_path)
    with pytest.raises(WriteError, match=r"cannot save .*File name too long"):
        check_place(tmp_path / ("x" * 300))


def test_damaged_files(tmp_path: Path) -> None:
    save_arrays(tmp_path / "a", {"x": np.arange(100.0)}, {"k": "v"})
    whole = (tmp_path / "a").read_bytes()
    for content, message in (
        (b"", "truncated"),
        (whole[:5], "truncated"),
        (whole[:40], "truncated: expected a header of"),
        (whole[:-1], "truncated or damaged"),
        (whole + b"x", "truncated or damaged"),
        (b"PK\x03\x04" + bytes(100), "not a safetensors file"),
        (b"<!DOCTYPE html><html></html>", "not a safetensors file"),
    ):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(ArraysFormatError, match=f"cannot load .*: {message}"):
            load_arrays(tmp_path / "a")


def test_a_type_that_numpy_lacks(tmp_path: Path) -> None:
    header = b'{"w":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}'
    (tmp_path / "a").write_bytes(len(header).to_bytes(8, "little") + header + b"\0\0")
    with pytest.raises(DTypeError, match="'w' is of type BF16"):
        load_arrays(tmp_path / "a")


@pytest.mark.skipif(os.name == "nt", reason="modes and links are those of POSIX")
def test_mode_and_links(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    save_arrays(tmp_path / "a", {"x": np.zeros(1)})
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("plain", "a")}
    assert len(modes) == 1
    (tmp_path / "link").symlink_to(tmp_path / "a")
    save_arrays(tmp_path / "link", {"x": np.ones(1)})
    assert (tmp_path / "link").is_symlink()
    assert load_arrays(tmp_path / "a")[0]["x"].tolist() == [1]
