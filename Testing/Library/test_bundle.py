"""Bundles: what is written comes back, and nothing damaged or dangerous is ever loaded."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import stat
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from MISFMLib.configs import (
    Code,
    IntensityConfig,
    LabelConfig,
    NetworkConfig,
    PreprocessingConfig,
    decode,
)
from MISFMLib.errors import BundleError, ConfigError, OutputError
from MISFMLib.models import bundle, bundle_files, bundle_metadata
from MISFMLib.models.bundle import (
    Bundle,
    BundleManifest,
    read_bundle,
    read_card,
    read_weights,
    verify_bundle,
    write_bundle,
    zip_bundle,
)

LABELS = (
    LabelConfig(
        value=1,
        name="liver",
        color=(221, 130, 101),
        category=Code("123037004", "SCT", "Anatomical Structure"),
        type=Code("10200004", "SCT", "Liver"),
        keep_largest=True,
        min_volume_mm3=12.5,
    ),
    LabelConfig(
        value=4,
        name="left kidney",
        type=Code("64033007", "SCT", "Kidney"),
        modifier=Code("7771000", "SCT", "Left"),
    ),
)
MANIFEST = BundleManifest(
    name="tiny",
    version="1.2.3",
    title="Liver and kidney, CT",
    description="Two organs, for tests.",
    intended_use="Abdominal CT of adults.",
    limitations="Not tried on children.",
    authors="Ada Example",
    license="CC-BY-4.0",
    training_data="Example set, CC BY 4.0, by the Example Group.",
    network=NetworkConfig(
        architecture="unet3d", num_classes=3, level_channels=(2, 2, 2, 2, 2), dropout=(0.0,) * 5
    ),
    preprocessing=PreprocessingConfig(
        modality="CT",
        intensity=(IntensityConfig(scheme="ct-clip", clip=(-1000, 1000)),),
        spacing_dhw=(2.5, 1.5, 1.5),
        patch_size=(32, 48, 48),
    ),
    labels=LABELS,
    evaluation={
        "liver": {"dice": 0.95123, "hd95_mm": 2.0},
        "left kidney": {"dice": 0.9, "hd95_mm": float("nan")},
        "cases": 38,
    },
    provenance={"command": "misfm finetune", "seed": 1},
)


@pytest.fixture
def weights(rng):
    return {
        "stem.weight": rng.normal(size=(2, 1, 3, 3, 3)).astype(np.float16),
        "norm.running_mean": rng.normal(size=2).astype(np.float32),
        "norm.num_batches_tracked": np.array(7),
    }


@pytest.fixture
def a_bundle(tmp_path, weights):
    return write_bundle(tmp_path / "tiny", MANIFEST, weights)


def test_weights_come_back_bit_for_bit_in_their_own_number_format(a_bundle, weights):
    loaded = read_weights(a_bundle)
    assert loaded.keys() == weights.keys()
    for name, array in weights.items():
        assert loaded[name].dtype == array.dtype
        assert loaded[name].shape == array.shape
        np.testing.assert_array_equal(loaded[name], array)


def test_the_manifest_comes_back_except_that_nan_becomes_null(a_bundle):
    evaluation = {**MANIFEST.evaluation, "left kidney": {"dice": 0.9, "hd95_mm": None}}
    sha256 = hashlib.sha256((a_bundle.path / "models/model.safetensors").read_bytes()).hexdigest()
    expected = dataclasses.replace(MANIFEST, evaluation=evaluation, weights_sha256=sha256)
    assert read_bundle(a_bundle.path).manifest == expected == a_bundle.manifest


def test_a_bundle_is_decoded_anew_only_when_it_has_changed(a_bundle, monkeypatch):
    read_bundle(a_bundle.path)
    decoded = []
    monkeypatch.setattr(bundle, "decode", lambda *given: decoded.append(given) or decode(*given))
    assert read_bundle(a_bundle.path).manifest == a_bundle.manifest
    assert not decoded
    metadata = a_bundle.path / "configs/metadata.json"
    metadata.write_text(metadata.read_text("utf-8").replace('"CT"', '"MR"'), "utf-8")
    assert read_bundle(a_bundle.path).manifest.preprocessing.modality == "MR"
    assert len(decoded) == 1


def test_metadata_fulfils_monais_schema(a_bundle):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(__file__).parent / "monai_metadata.schema.json").read_text("utf-8"))
    metadata = json.loads((a_bundle.path / "configs/metadata.json").read_text("utf-8"))
    jsonschema.validate(metadata, schema)
    output = metadata["network_data_format"]["outputs"]["pred"]
    assert output["channel_def"] == {"0": "background", "1": "liver", "2": "left kidney"}
    for key in schema["required"]:  # the schema can fail
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({k: v for k, v in metadata.items() if k != key}, schema)


def test_metadata_names_the_lowest_version_of_a_package_that_is_not_installed(
    tmp_path, weights, monkeypatch
):
    def version(name):
        if name == "monai":
            raise importlib.metadata.PackageNotFoundError(name)
        return "7.8.9+cpu"

    monkeypatch.setattr(bundle_metadata.importlib.metadata, "version", version)
    bundle = write_bundle(tmp_path / "tiny", MANIFEST, weights)
    metadata = json.loads((bundle.path / "configs/metadata.json").read_text("utf-8"))
    assert metadata["monai_version"] == "1.4.0"
    assert metadata["pytorch_version"] == "7.8.9"


def test_metadata_of_pretrained_weights_fulfils_monais_schema_without_labels(tmp_path, weights):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(__file__).parent / "monai_metadata.schema.json").read_text("utf-8"))
    pretrained = dataclasses.replace(MANIFEST, kind="pretrained", labels=(), evaluation={})
    bundle = write_bundle(tmp_path / "pretrained", pretrained, weights)
    metadata = json.loads((bundle.path / "configs/metadata.json").read_text("utf-8"))
    jsonschema.validate(metadata, schema)
    assert "misfm finetune" in read_card(bundle)
    assert "not been evaluated" in read_card(bundle)


def test_the_card_tells_labels_codes_results_terms_and_checksum(a_bundle):
    card = read_card(a_bundle)
    for text in (
        "| 4 | left kidney | Kidney (SCT 64033007), Left (SCT 7771000) |",
        "| liver | 0.9512 | 2 |",
        "| left kidney | 0.9 | - |",
        "- cases: 38",
        "2.5 x 1.5 x 1.5 mm",
        "Not tried on children.",
        "not for clinical use",
        "Example set, CC BY 4.0, by the Example Group.",
        "- seed: 1",
        "misfm segment image.nii.gz -m tiny -o result.seg.nrrd",
        a_bundle.manifest.weights_sha256,
    ):
        assert text in card
    licence = (a_bundle.path / "LICENSE").read_text("utf-8")
    assert "https://spdx.org/licenses/CC-BY-4.0.html" in licence
    assert "by the Example Group" in licence


def test_a_licence_in_words_gets_no_link(tmp_path, weights):
    manifest = dataclasses.replace(MANIFEST, license="ask Ada", training_data="")
    bundle = write_bundle(tmp_path / "tiny", manifest, weights)
    licence = (bundle.path / "LICENSE").read_text("utf-8")
    assert "ask Ada" in licence
    assert "http" not in licence


def test_the_same_bundle_gives_the_same_zip(a_bundle, tmp_path, weights):
    again = write_bundle(
        tmp_path / "again" / "elsewhere", MANIFEST, dict(reversed(weights.items()))
    )
    first, second = tmp_path / "first.zip", tmp_path / "second.zip"
    zip_bundle(a_bundle, first)
    zip_bundle(again, second)
    assert first.read_bytes() == second.read_bytes()


def test_a_zip_is_read_where_it_is_and_unpacks_to_a_folder_of_its_name(a_bundle, tmp_path, weights):
    zipped = read_bundle(zip_bundle(a_bundle, tmp_path / "download.zip"))
    assert zipped.manifest == a_bundle.manifest
    assert read_card(zipped) == read_card(a_bundle)
    verify_bundle(zipped)
    np.testing.assert_array_equal(read_weights(zipped)["stem.weight"], weights["stem.weight"])
    with zipfile.ZipFile(zipped.path) as archive:
        assert "tiny/configs/metadata.json" in archive.namelist()
    assert not (tmp_path / "download").exists()


def test_a_zip_without_a_top_folder_and_with_file_manager_clutter_is_read(a_bundle, tmp_path):
    path = tmp_path / "by-hand.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in bundle_files.list_files(a_bundle.path):
            archive.write(a_bundle.path / name, name)
        archive.writestr("__MACOSX/configs/._metadata.json", b"\0")
        archive.writestr("models/.DS_Store", b"\0")
    verify_bundle(read_bundle(path))


def test_results_are_not_replaced_unless_asked(a_bundle, tmp_path, weights):
    with pytest.raises(OutputError):
        write_bundle(a_bundle.path, MANIFEST, weights)
    zip_bundle(a_bundle, tmp_path / "tiny.zip")
    with pytest.raises(OutputError):
        zip_bundle(a_bundle, tmp_path / "tiny.zip")
    newer = dataclasses.replace(MANIFEST, version="2.0.0")
    assert write_bundle(a_bundle.path, newer, weights, overwrite=True).manifest.version == "2.0.0"


# ---------------------------------------------------------------------- damaged and dangerous


def code_of(action) -> str:
    with pytest.raises(BundleError) as caught:
        action()
    assert caught.value.remedy
    return caught.value.code


def change_metadata(bundle: Bundle, change) -> None:
    path = bundle.path / "configs/metadata.json"
    metadata = json.loads(path.read_text("utf-8"))
    change(metadata)
    path.write_text(json.dumps(metadata), "utf-8")


def replace_weights(bundle: Bundle, content: bytes) -> Bundle:
    """Put other bytes in place of the weights, with their checksum in the manifest."""
    (bundle.path / "models/model.safetensors").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    change_metadata(bundle, lambda metadata: metadata["misfm"].update(weights_sha256=sha256))
    return read_bundle(bundle.path)


def test_one_flipped_bit_in_the_weights_is_found(a_bundle):
    path = a_bundle.path / "models/model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert code_of(lambda: read_weights(a_bundle)) == "bundle-checksum"
    assert code_of(lambda: verify_bundle(a_bundle)) == "bundle-checksum"


@pytest.mark.parametrize("name", bundle_files.REQUIRED)
def test_a_missing_file_is_named(a_bundle, name):
    (a_bundle.path / name).unlink()
    with pytest.raises(BundleError, match=name):
        read_bundle(a_bundle.path)


@pytest.mark.parametrize("name", ["models/model.pt", "models/MODEL.PTH", "scripts/net.py", "a.pkl"])
def test_a_file_that_can_run_code_is_refused(a_bundle, name):
    (a_bundle.path / name).parent.mkdir(exist_ok=True)
    (a_bundle.path / name).write_bytes(b"\x80\x04.")
    assert code_of(lambda: read_bundle(a_bundle.path)) == "bundle-unsafe-file"


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x95 pickle",
        b"",
        struct.pack("<Q", 1 << 60) + b"{}",
        struct.pack("<Q", 2) + b"{}",
        struct.pack("<Q", 61)
        + b'{"x":{"dtype":"BF16","shape":[1],"data_offsets":[0,2]}}      '
        + b"\0\0",
    ],
    ids=["pickle", "empty", "endless header", "no tensors", "bfloat16"],
)
def test_weights_that_are_no_safetensors_of_numbers_are_refused(a_bundle, content):
    bundle = replace_weights(a_bundle, content)
    assert code_of(lambda: verify_bundle(bundle)) == "bundle-bad-weights"


def test_weights_that_are_not_finite_are_neither_written_nor_read(a_bundle, tmp_path):
    import safetensors.numpy

    broken = {"a": np.array([1.0, np.inf], np.float16)}
    assert code_of(lambda: write_bundle(tmp_path / "b", MANIFEST, broken)) == "bundle-bad-weights"
    assert not (tmp_path / "b").exists()
    bundle = replace_weights(a_bundle, safetensors.numpy.save(broken))
    assert code_of(lambda: read_weights(bundle)) == "bundle-bad-weights"


def test_a_bundle_of_another_program_is_told_apart(a_bundle):
    change_metadata(a_bundle, lambda metadata: metadata.pop("misfm"))
    assert code_of(lambda: read_bundle(a_bundle.path)) == "bundle-foreign"


def test_a_newer_format_asks_for_an_update(a_bundle):
    change_metadata(a_bundle, lambda metadata: metadata["misfm"].update(format=2, news=1))
    with pytest.raises(BundleError, match="Update MISFM") as caught:
        read_bundle(a_bundle.path)
    assert caught.value.code == "bundle-format-newer"


@pytest.mark.parametrize(
    "change",
    [
        lambda metadata: metadata.pop("copyright"),
        lambda metadata: metadata["misfm"].pop("network"),
        lambda metadata: metadata["misfm"].update(colour="red"),
        lambda metadata: metadata["misfm"]["labels"].pop(),
        lambda metadata: metadata["misfm"]["network"].update(num_classes="3"),
    ],
)
def test_a_manifest_that_cannot_be_used_is_refused(a_bundle, change):
    change_metadata(a_bundle, change)
    assert code_of(lambda: read_bundle(a_bundle.path)) == "bundle-bad-manifest"


def test_a_manifest_that_changed_after_reading_is_found(a_bundle):
    change_metadata(a_bundle, lambda metadata: metadata["misfm"].update(license="none"))
    assert code_of(lambda: verify_bundle(a_bundle)) == "bundle-changed"


@pytest.mark.parametrize(
    "content", [b"{", b"\xff\xfe", b"[" * 100_000], ids=["cut", "binary", "deep"]
)
def test_metadata_that_is_no_json_is_damaged(a_bundle, content):
    (a_bundle.path / "configs/metadata.json").write_bytes(content)
    assert code_of(lambda: read_bundle(a_bundle.path)) == "bundle-damaged"


def test_what_is_no_bundle_at_all_is_told_so(tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"\x80\x04")
    (tmp_path / "empty").mkdir()
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert code_of(lambda: read_bundle(tmp_path / "absent")) == "bundle-not-found"
    for name in ("weights.pt", "empty", "other.zip"):
        assert code_of(lambda name=name: read_bundle(tmp_path / name)) == "not-a-bundle"


def a_zip(path: Path, a_bundle: Bundle, *extra: tuple[zipfile.ZipInfo | str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name in bundle_files.list_files(a_bundle.path):
            archive.write(a_bundle.path / name, f"tiny/{name}")
        for member, content in extra:
            archive.writestr(member, content)
    return path


def a_link(name: str) -> zipfile.ZipInfo:
    member = zipfile.ZipInfo(name)
    member.create_system = 3
    member.external_attr = (stat.S_IFLNK | 0o777) << 16
    return member


@pytest.mark.parametrize(
    "name", ["../outside.txt", "tiny/../../outside.txt", "/etc/passwd", "C:/x.txt", "a\\..\\b.txt"]
)
def test_a_zip_whose_names_lead_outside_is_refused(a_bundle, tmp_path, name):
    path = a_zip(tmp_path / "bad.zip", a_bundle, (name, b"x"))
    assert code_of(lambda: read_bundle(path)) == "bundle-unsafe-zip"


def test_a_zip_with_a_link_is_refused(a_bundle, tmp_path):
    path = a_zip(tmp_path / "bad.zip", a_bundle, (a_link("tiny/docs/link.md"), b"/etc/passwd"))
    assert code_of(lambda: read_bundle(path)) == "bundle-unsafe-zip"


def test_an_encrypted_zip_is_refused(a_bundle, tmp_path):
    path = a_zip(tmp_path / "bad.zip", a_bundle)
    content = bytearray(path.read_bytes())
    entry = content.index(b"PK\x01\x02")  # first entry of the table at the end; flags 8 bytes in
    content[entry + 8] |= 1
    path.write_bytes(content)
    assert code_of(lambda: read_bundle(path)) == "bundle-unsafe-zip"


def test_a_zip_bomb_is_refused_before_it_is_unpacked(a_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_files, "MAX_BYTES", 1 << 20)
    path = tmp_path / "bomb.zip"
    a_zip(path, a_bundle)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("tiny/docs/bomb.txt", bytes(2 << 20))
    assert path.stat().st_size < 1 << 16
    assert code_of(lambda: read_bundle(path)) == "bundle-unsafe-zip"


def test_a_zip_of_countless_files_is_refused(a_bundle, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle_files, "MAX_FILES", 10)
    extra = [(f"tiny/docs/{index}.txt", b"") for index in range(10)]
    path = a_zip(tmp_path / "bad.zip", a_bundle, *extra)
    assert code_of(lambda: read_bundle(path)) == "bundle-unsafe-zip"


def test_a_zip_that_lies_about_sizes_or_is_cut_is_damaged(a_bundle, tmp_path):
    whole = a_zip(tmp_path / "whole.zip", a_bundle).read_bytes()
    cut = tmp_path / "cut.zip"
    cut.write_bytes(whole[:-30])
    assert code_of(lambda: read_bundle(cut)) == "not-a-bundle"
    lying = tmp_path / "lying.zip"
    content = bytearray(whole)
    content[whole.index(b'"misfm"')] ^= 1  # the member no longer has the CRC of the table
    lying.write_bytes(content)
    assert code_of(lambda: read_bundle(lying)) == "bundle-damaged"


def test_a_zip_of_two_bundles_or_with_doubled_files_is_refused(a_bundle, tmp_path):
    two = a_zip(tmp_path / "two.zip", a_bundle, ("other/configs/metadata.json", b"{}"))
    assert code_of(lambda: read_bundle(two)) == "not-a-bundle"
    with pytest.warns(UserWarning, match="Duplicate name"):
        doubled = a_zip(tmp_path / "doubled.zip", a_bundle, ("tiny/LICENSE", b"mine"))
    assert code_of(lambda: read_bundle(doubled)) == "bundle-damaged"


def test_a_zip_that_loses_a_file_after_reading_is_damaged(a_bundle, tmp_path):
    zipped = read_bundle(a_zip(tmp_path / "tiny.zip", a_bundle))
    with zipfile.ZipFile(zipped.path, "w") as archive:
        archive.writestr("configs/metadata.json", b"{}")
    assert code_of(lambda: read_weights(zipped)) == "bundle-damaged"
    (a_bundle.path / "models/model.safetensors").unlink()
    assert code_of(lambda: read_weights(a_bundle)) == "bundle-damaged"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../elsewhere"},
        {"name": ""},
        {"labels": LABELS[:1]},
        {"labels": (LABELS[0], dataclasses.replace(LABELS[1], name="liver"))},
        {"labels": (LABELS[0], dataclasses.replace(LABELS[1], value=1))},
        {"labels": (LABELS[0], dataclasses.replace(LABELS[1], value=0))},
        {"network": dataclasses.replace(MANIFEST.network, in_channels=2)},
    ],
)
def test_a_manifest_that_contradicts_itself_cannot_be_made(change):
    with pytest.raises(ConfigError):
        dataclasses.replace(MANIFEST, **change)


# ----------------------------------------------------------------------------------------- MONAI


def test_monais_parser_builds_the_network_and_gives_the_same_logits(tmp_path):
    config_parser = pytest.importorskip("monai.bundle.config_parser")
    torch = pytest.importorskip("torch")
    safetensors_torch = pytest.importorskip("safetensors.torch")
    networks = pytest.importorskip("MISFMLib.networks")

    torch.manual_seed(4)
    trained = networks.build_network(MANIFEST.network).eval()
    weights = networks.weights_to_numpy(trained, half=False)
    bundle = write_bundle(tmp_path / "tiny", MANIFEST, weights)
    volume = torch.rand(1, 1, 16, 16, 16)
    with torch.no_grad():
        expected = trained(volume)

    parser = config_parser.ConfigParser()
    parser.read_config(bundle.path / "configs/inference.json")
    parser["bundle_root"] = str(bundle.path)
    ready = parser.get_parsed_content("network")
    fresh = parser.get_parsed_content("network_def")
    assert not ready.training
    with torch.no_grad():
        assert torch.equal(ready(volume), expected)
        assert not torch.equal(fresh.eval()(volume), expected)
        fresh.load_state_dict(safetensors_torch.load_file(bundle.path / bundle_files.WEIGHTS))
        assert torch.equal(fresh(volume), expected)
