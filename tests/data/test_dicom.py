from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pydicom")

from pydicom import Dataset, FileMetaDataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.pixels import set_pixel_data
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RLELossless, generate_uid

from headstart.data.decode import decode, header_size, inspect
from headstart.data.inspection import inspect_all
from headstart.data.sources.read import read_images
from headstart.data.splitting import assign_split
from headstart.data.value_range import ValueRange

VALUES = np.arange(0, 4096, 2, dtype=np.uint16).reshape(32, 64)


def dicom(values: np.ndarray, kind: str = "MONOCHROME2", bits: int = 12, **settings: Any) -> bytes:
    """A DICOM file of 16-bit values (H, W) or (frames, H, W)."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID = CTImageStorage
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID = generate_uid()
    set_pixel_data(made, values, kind, bits)
    for name, value in settings.items():
        setattr(made, name, value)
    file = io.BytesIO()
    made.save_as(file, enforce_file_format=True)
    return file.getvalue()


def gray(content: bytes, **options: Any) -> np.ndarray:
    return np.asarray(decode(content, **options))[..., 0]


def test_without_a_window_the_values_have_the_range_of_the_set() -> None:
    content = dicom(VALUES)
    assert header_size(content) == (64, 32)
    found = inspect(content).values
    assert found is not None
    assert (found.dtype, found.stated) == ("uint16", False)
    assert found.high is not None
    assert found.high > 4000
    scaled = gray(content, value_ranges=[ValueRange("uint16", 0, 4095)])
    assert np.array_equal(scaled, np.floor(VALUES * (255 / 4095) + 0.5))


def test_the_window_of_a_file_is_applied_after_rescaling() -> None:
    content = dicom(VALUES, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40.5, WindowWidth=401)
    assert inspect(content).values is None
    shown, measured = gray(content).astype(int), VALUES.astype(int) - 1024
    assert np.all(shown[measured <= -160] == 0)
    assert np.all(shown[measured > 240] == 255)
    inside = (measured > -160) & (measured <= 240)
    assert np.abs(shown - (measured + 160) * 255 / 400)[inside].max() <= 1


def test_a_range_that_a_person_gives_replaces_the_window() -> None:
    content = dicom(VALUES, RescaleSlope=1, RescaleIntercept=-1024, WindowCenter=40, WindowWidth=400)
    shown = gray(content, value_ranges=[ValueRange("any", -1024, 3071)])
    assert np.abs(shown - VALUES * (255 / 4095)).max() <= 0.51


@pytest.mark.parametrize("settings", [{}, {"WindowCenter": 2048, "WindowWidth": 4096}])
def test_monochrome1_is_inverted(settings: dict[str, int]) -> None:
    ranges = [ValueRange("uint16", 0, 4095)]
    plain = gray(dicom(VALUES, **settings), value_ranges=ranges).astype(int)
    inverted = gray(dicom(VALUES, "MONOCHROME1", **settings), value_ranges=ranges).astype(int)
    assert np.abs(plain + inverted - 255).max() <= 1
    assert plain.std() > 50


def test_a_voi_lut_is_applied() -> None:
    table = Dataset()
    table.LUTDescriptor = [4096, 0, 12]
    table.add_new(0x00283006, "OW", np.arange(4095, -1, -1, dtype=np.uint16).tobytes())
    content = dicom(VALUES, VOILUTSequence=[table])
    assert np.abs(gray(content) - (4095 - VALUES) * (255 / 4095)).max() <= 0.5


def test_files_of_pydicom_are_read_or_say_why_not() -> None:
    whole = get_testdata_file("MR_small.dcm")
    packed = get_testdata_file("MR_small_RLE.dcm")
    assert np.array_equal(gray(Path(whole).read_bytes()), gray(Path(packed).read_bytes()))
    assert inspect(get_testdata_file("SC_rgb_jpeg_dcmtk.dcm")).problem is None
    assert "without an image" in str(inspect(get_testdata_file("test-SR.dcm")).problem)
    assert "damaged" in str(inspect(get_testdata_file("MR_truncated.dcm")).problem)
    lossless = str(inspect(get_testdata_file("SC_rgb_jpeg_gdcm.dcm")).problem)
    assert "JPEG Lossless" in lossless or lossless == "None"  # None where such a decoder is installed


@pytest.mark.parametrize("packed", [False, True])
def test_each_frame_is_an_image_that_no_split_parts_from_the_others(tmp_path: Path, packed: bool) -> None:
    for label, step in (("bone", 1), ("lung", 3)):
        (tmp_path / label).mkdir()
        for number in range(4):
            stack = np.stack([VALUES + step * frame for frame in range(3)]) % 4096
            content = dicom(stack, PatientID=str(number), WindowCenter=2048 + number, WindowWidth=4096)
            if packed:
                found = dcmread(io.BytesIO(content))
                found.compress(RLELossless)
                file = io.BytesIO()
                found.save_as(file)
                content = file.getvalue()
            (tmp_path / label / f"{number}.dcm").write_bytes(content)
    assert len(read_images(tmp_path)) == 8
    manifest = inspect_all(read_images(tmp_path, frames="all"))
    assert len(manifest) == 24
    assert manifest.problems == [None] * 24
    assert len(set(manifest.hashes)) == 24
    assert manifest.labels.count("lung") == 12
    assert manifest.description is not None
    assert "8 files have 24 frames, each of them an image" in manifest.description.notes
    second = np.asarray(decode(manifest.source(1)))[..., 0]
    assert np.abs(second.astype(int) - (VALUES + 1) % 4096 * (255 / 4095)).max() <= 2
    splits = assign_split(manifest, validation_share=0.3, test_share=0.2, seed=0).splits
    assert all(len(set(splits[row : row + 3])) == 1 for row in range(0, 24, 3))
