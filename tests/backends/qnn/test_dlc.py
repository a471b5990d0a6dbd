"""A DLC from the outside, and files that are none."""

import json
import zipfile

import pytest

from onnxopt.backends.qnn.dlc import inspect_context, inspect_dlc
from onnxopt.errors import BadModel

METADATA = {
    "header": {"timestamp": "2026-01-02 03:04:05 UTC"},
    "dlcGenerationInfo": [{"converterCommand": {"converterVersion": "2.51.0"}}],
}


def packed(path, **parts):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts.items():
            archive.writestr(name.replace("_", "."), content)
    return path


def without_checksums(path):
    """As Qualcomm writes it: every CRC is 0."""
    content = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 14), (b"PK\x01\x02", 16)):
        at = content.find(signature)
        while at >= 0:
            content[at + offset : at + offset + 4] = bytes(4)
            at = content.find(signature, at + 4)
    path.write_bytes(content)


def test_parts_and_versions_are_read_whatever_the_checksums(tmp_path):
    path = packed(tmp_path / "m.dlc", model=b"NETD", model_params=b"12", dlc_metadata=json.dumps(METADATA))
    without_checksums(path)
    found = inspect_dlc(path)
    assert found["parts"]["model"] == 4 and found["converter version"] == "2.51.0"
    assert found["written"] == "2026-01-02 03:04:05 UTC"


@pytest.mark.parametrize("metadata", ["{", "[]", "{}", '{"header": 1}', "null"])
def test_other_metadata_is_left_out(tmp_path, metadata):
    found = inspect_dlc(packed(tmp_path / "m.dlc", model=b"", dlc_metadata=metadata))
    assert "written" not in found and "model" in found["parts"]


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04"])
def test_what_is_no_zip_is_no_dlc(tmp_path, content):
    (tmp_path / "m.dlc").write_bytes(content)
    with pytest.raises(BadModel, match=r"m\.dlc is no DLC: "):
        inspect_dlc(tmp_path / "m.dlc")


def test_a_cut_one_is_none(tmp_path):
    path = packed(tmp_path / "m.dlc", model=b"x" * 1000)
    path.write_bytes(path.read_bytes()[:600])
    with pytest.raises(BadModel, match="is no DLC"):
        inspect_dlc(path)


def test_another_zip_is_none(tmp_path):
    with pytest.raises(BadModel, match=r"is no DLC: it holds a\.txt"):
        inspect_dlc(packed(tmp_path / "m.dlc", a_txt=b""))


def test_an_empty_context_binary_is_none(tmp_path):
    (tmp_path / "m.bin").touch()
    with pytest.raises(BadModel, match="it is empty"):
        inspect_context(tmp_path / "m.bin")
