"""Bundles in the form of MONAI's Model Zoo give MONAI's labels, and none of their code is run."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MISFMLib.cli import main
from MISFMLib.data.preprocessing import prepare_volume
from MISFMLib.errors import BundleError
from MISFMLib.jobs.imports.monai import import_monai
from MISFMLib.jobs.imports.monai_config import MonaiConfig
from MISFMLib.models.recognise import kind_of
from MISFMLib.networks import network_from_bundle
from MISFMLib.volumes.volume import read_volume

nets = pytest.importorskip("monai.networks.nets")

SHARED = Path(os.environ.get("MISFM_SHARED", Path(__file__).resolve().parents[3] / "shared"))
FIXTURES = sorted(SHARED.glob("spec/monai/*/bundle/*"))


def transform(name: str, **settings):
    return {"_target_": name, "keys": "@image_key", **settings}


def after(name: str, **settings):
    return {"_target_": name, "keys": "pred", **settings}


LOAD = [transform("LoadImaged", reader="NibabelReader"), transform("EnsureChannelFirstd")]
LOADER = {"_target_": "CheckpointLoader", "load_dict": {"model": "@network"}}
INVERT = after(
    "Invertd",
    transform="@preprocessing",
    orig_keys="@image_key",
    nearest_interp=False,
    to_tensor=True,
)
UNET = {
    "_target_": "UNet",
    "spatial_dims": 3,
    "in_channels": 1,
    "out_channels": 3,
    "channels": [4, 8],
    "strides": [2],
    "num_res_units": 1,
}
SEGRESNET = {
    "_target_": "SegResNet",
    "init_filters": 4,
    "out_channels": 3,
    "blocks_down": [1, 1],
    "blocks_up": [1],
    "norm": ["GROUP", {"num_groups": 2}],
}
STYLES = {
    "crop and softmax": (
        {
            "_target_": "monai.networks.nets.DynUNet",
            "spatial_dims": 3,
            "in_channels": 1,
            "out_channels": 3,
            "kernel_size": [3, 3, 3],
            "strides": [1, 2, 2],
            "upsample_kernel_size": "$@network_def#strides[1:] if False else [2, 2]",
            "filters": [4, 6, 8],
            "deep_supervision": False,
        },
        [
            *LOAD,
            transform("ScaleIntensityRanged", a_min=-50, a_max=300, b_min=0, b_max=1, clip=True),
            transform(
                "CropForegroundd",
                source_key="image",
                margin=2,
                allow_smaller=True,
                mode=["minimum"],  # of no effect, since nothing is padded
            ),
            transform("Orientationd", axcodes="LPS"),
            transform("Spacingd", pixdim="$(2.0, 1.5, 2.5)", mode="bilinear"),
        ],
        {"roi_size": [16, 16, 16], "overlap": 0.75},
        [after("Activationsd", softmax=True), INVERT, after("AsDiscreted", argmax=True)],
    ),
    "regions of two channels": (
        {**SEGRESNET, "in_channels": 2},
        [
            transform("LoadImaged", reader="NibabelReader"),
            transform("EnsureTyped"),
            transform("NormalizeIntensityd", nonzero=True, channel_wise=True),
        ],
        {"roi_size": [24, 24, 16], "overlap": 0.5},
        [
            after("Activationsd", sigmoid=True),
            INVERT,
            after("AsDiscreted", threshold=0.5),
        ],
    ),
    "regions in one label map, as for BraTS": (
        {**SEGRESNET, "in_channels": 4},
        [
            transform("LoadImaged"),
            transform("NormalizeIntensityd", nonzero=True, channel_wise=True),
        ],
        {"roi_size": [24, 24, 16], "overlap": 0.5},
        [
            after("Activationsd", sigmoid=True),
            INVERT,
            after("AsDiscreted", threshold=0.5),
            after(
                "Lambdad",
                func="$lambda x: torch.where(x[[2]] > 0, 4, "
                "torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0)))",
            ),
        ],
    ),
    "axes turned late": (
        {**UNET, "_target_": "monai.networks.nets.Unet"},
        [
            *LOAD,
            transform("CropForegroundd", source_key="image", margin=[1, 2, 0], k_divisible=7),
            transform("Spacingd", pixdim=[1.3, -1]),
            transform("Orientationd", as_closest_canonical=True),
            transform("ClipIntensityPercentilesd", lower=1, upper=98),
            transform("ThresholdIntensityd", threshold=40, above=True, cval=40),
            transform("ScaleIntensityd", minv=-1.0, maxv=1.0),
            transform("SpatialPadd", spatial_size=[29, -1, 17], method="end"),
            transform("DivisiblePadd", k=[8, 8, 4]),
        ],
        {"roi_size": [20, 40, 40], "overlap": 0.8},
        [after("Activationsd", softmax=True), INVERT, after("AsDiscreted", argmax=True)],
    ),
    "largest component": (
        UNET,
        [
            *LOAD,
            transform("EnsureTyped", dtype="$torch.float32"),
            transform("Orientationd", axcodes="RAS"),
            transform("Spacingd", pixdim=[1.1, 1.27, 2.1], mode=["bilinear"]),
            transform("ScaleIntensityd", minv=0.0, maxv=1.0),
            transform("NormalizeIntensityd"),
        ],
        {"roi_size": [16, 24, 16], "overlap": 0.5, "mode": "gaussian", "padding_mode": "replicate"},
        [
            after("Activationsd", softmax=True),
            after("AsDiscreted", argmax=True),
            after("KeepLargestConnectedComponentd", applied_labels=[1]),
            {**INVERT, "nearest_interp": True},
        ],
    ),
}


def painting(function: str, activation: str = "sigmoid") -> dict:
    """Return a config that makes one label map of regions by a function."""
    decided = {"threshold": 0.5} if activation == "sigmoid" else {"argmax": True}
    steps = [after("Activationsd", **{activation: True}), after("AsDiscreted", **decided)]
    steps.append(after("Lambdad", func=function))
    return {"postprocessing": {"_target_": "Compose", "transforms": steps}}


def write_bundle_of_monai(folder: Path, style: str = "largest component", **changes) -> Path:
    """Write a bundle in the zoo's form with random weights."""
    definition, before, window, afterwards = STYLES[style]
    root = folder / "test_bundle"
    (root / "configs").mkdir(parents=True)
    (root / "models").mkdir()
    config = {
        "imports": ["$import os"],
        "bundle_root": ".",
        "image_key": "image",
        "device": "$torch.device('cpu')",
        "network_def": definition,
        "network": "$@network_def.to(@device)",
        "preprocessing": {"_target_": "Compose", "transforms": before},
        "inferer": {"_target_": "SlidingWindowInferer", "sw_batch_size": 1, **window},
        "postprocessing": {"_target_": "Compose", "transforms": afterwards},
        "checkpointloader": {
            "_target_": "CheckpointLoader",
            "load_path": "$@bundle_root + '/models/' + 'model.pt'",
            "load_dict": {"model": "@network"},
        },
        **changes,
    }
    channels = {"0": "background", "1": "liver", "2": "spleen"}
    metadata = {
        "version": "0.1.0",
        "monai_version": "1.6.1",
        "network_data_format": {
            "inputs": {"image": {"modality": "CT", "channel_def": {"0": "image"}}},
            "outputs": {"pred": {"channel_def": channels}},
        },
    }
    (root / "configs" / "inference.json").write_text(json.dumps(config))
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata))
    torch.manual_seed(3)
    arguments = {k: v for k, v in definition.items() if k != "_target_"}
    if "upsample_kernel_size" in arguments:
        arguments["upsample_kernel_size"] = [2, 2]
    network = getattr(nets, definition["_target_"].rsplit(".", 1)[-1])(**arguments)
    state = {n: t.clone() for n, t in network.state_dict().items()}
    torch.save({"model": state}, root / "models" / "model.pt")
    return root


def write_images(folder: Path, count: int) -> list[Path]:
    """Write images on an oblique grid stored as RAI, with an empty border."""
    random = np.random.default_rng(1)
    turned = sitk.Euler3DTransform((0, 0, 0), 0.1, -0.2, 0.3)
    direction = np.reshape(turned.GetMatrix(), (3, 3)) @ np.diag([1.0, -1.0, -1.0])
    paths = []
    for number in range(count):
        noise = sitk.GetImageFromArray(random.normal(size=(17, 30, 26)).astype(np.float32))
        smooth = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(noise, 1.5))
        array = np.zeros((21, 36, 33), np.int16)
        array[2:19, 4:34, 3:29] = np.rint(900 * smooth + 130)
        image = sitk.GetImageFromArray(array)
        image.SetSpacing((1.2, 1.4, 2.3))
        image.SetDirection(direction.ravel())
        image.SetOrigin((-20, 30, 11))
        paths.append(folder / f"image_{number}.nii.gz")
        sitk.WriteImage(image, str(paths[-1]))
    return paths


def labels_of_monai(root: Path, images: list[Path]) -> np.ndarray:
    """Run the bundle's own transforms and inferer by MONAI; (z, y, x)."""
    pytest.importorskip("nibabel")
    from monai.bundle import ConfigParser
    from monai.data import decollate_batch, list_data_collate

    parser = ConfigParser(json.loads((root / "configs" / "inference.json").read_text()))
    network = parser.get_parsed_content("network").eval()
    network.load_state_dict(torch.load(root / "models" / "model.pt")["model"])
    files = [str(path) for path in images]
    item = parser.get_parsed_content("preprocessing")(
        {"image": files if len(files) > 1 else files[0]}
    )
    batch = list_data_collate([item])
    with torch.no_grad():
        batch["pred"] = parser.get_parsed_content("inferer")(batch["image"], network)
    (case,) = decollate_batch(batch)
    answer = np.asarray(parser.get_parsed_content("postprocessing")(case)["pred"])
    painted = answer[0].copy()
    if len(answer) > 1:
        painted[...] = 0
        for number, region in enumerate(answer, start=1):
            painted[region > 0] = number
    return painted.transpose(2, 1, 0)


def segmented(model: Path, images: list[Path], tmp_path: Path) -> np.ndarray:
    assert main(["models", "import", str(model), "--name", "imported", "--overwrite"]) == 0
    output = tmp_path / "labels.nii.gz"
    words = ["segment", ",".join(map(str, images)), "-m", "imported", "-o", str(output)]
    assert main([*words, "--precision", "fp32", "--engine", "torch", "--overwrite"]) == 0
    return sitk.GetArrayFromImage(sitk.ReadImage(str(output)))


@pytest.mark.skipif(not FIXTURES, reason="the fixtures of ../shared are absent")
@pytest.mark.parametrize("model", FIXTURES, ids=lambda path: path.parents[1].name)
def test_labels_of_the_fixtures_equal_those_of_monai(model, tmp_path, one_thread):
    fixture = model.parents[1]
    for expected in sorted((fixture / "expected").glob("*.nii.gz")):
        images = [fixture / "images" / expected.name]
        theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(expected)))
        assert np.mean(segmented(model, images, tmp_path) == theirs) >= 0.9999 - 1e-4


@pytest.mark.filterwarnings("ignore")  # of MONAI and nibabel
@pytest.mark.parametrize("style", STYLES)
def test_labels_equal_those_of_monai_run_here(style, tmp_path, one_thread):
    if style == "largest component":
        pytest.importorskip("skimage")  # with which MONAI finds components
    root = write_bundle_of_monai(tmp_path, style)
    images = write_images(tmp_path, STYLES[style][0]["in_channels"])
    theirs = labels_of_monai(root, images)
    assert len(np.unique(theirs)) > 1
    assert np.mean(segmented(root, images, tmp_path) == theirs) >= 0.9998


def test_a_zip_is_the_same_model(tmp_path):
    root = write_bundle_of_monai(tmp_path)
    archive = tmp_path / "test_bundle_v0.1.0.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(root.rglob("*")):
            file.write(path, path.relative_to(tmp_path))
    assert kind_of(archive) == kind_of(root) == "monai"
    models = tmp_path / "models"
    from_zip = import_monai(archive, models)
    assert from_zip.manifest.name == "test_bundle"
    assert [label.name for label in from_zip.manifest.labels] == ["liver", "spleen"]
    from_folder = import_monai(root, models, name="other")
    assert from_folder.manifest.weights_sha256 == from_zip.manifest.weights_sha256


@pytest.mark.parametrize(
    ("named", "labels"),
    [({"0": "background", "1": "tumor"}, ["tumor"]), ({"0": "tumor"}, ["tumor"])],
)
def test_one_region_is_the_structure_also_where_a_background_is_named(named, labels, tmp_path):
    network = {**UNET, "out_channels": 1}
    steps = [after("Activationsd", sigmoid=True), after("AsDiscreted", threshold=0.5)]
    changes = {
        "network_def": network,
        "postprocessing": {"_target_": "Compose", "transforms": steps},
    }
    root = write_bundle_of_monai(tmp_path, **changes)
    metadata = json.loads((root / "configs" / "metadata.json").read_text())
    metadata["network_data_format"]["outputs"]["pred"]["channel_def"] = named
    (root / "configs" / "metadata.json").write_text(json.dumps(metadata))
    arguments = {k: v for k, v in network.items() if k != "_target_"}
    torch.save(nets.UNet(**arguments).state_dict(), root / "models" / "model.pt")
    manifest = import_monai(root, tmp_path / "models").manifest
    assert [(label.value, label.name) for label in manifest.labels] == [(1, labels[0])]


@pytest.mark.parametrize(
    ("function", "painted"),
    [
        ("", [(2, "Whole tumor"), (1, "Tumor core"), (3, "Enhancing tumor")]),
        (
            "$lambda x: torch.where(x[[2]] > 0, 4, "
            "torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0)))",
            [(2, "Whole tumor"), (1, "Tumor core"), (4, "Enhancing tumor")],
        ),
    ],
    ids=["not told", "told"],
)
def test_a_whole_does_not_hide_its_parts(function, painted, tmp_path):
    steps = [after("Activationsd", sigmoid=True), after("AsDiscreted", threshold=0.5)]
    steps += [after("Lambdad", func=function)] if function else []
    changes = {"postprocessing": {"_target_": "Compose", "transforms": steps}}
    root = write_bundle_of_monai(tmp_path, **changes)
    file = root / "configs" / "metadata.json"
    names = {"0": "Tumor core", "1": "Whole tumor", "2": "Enhancing tumor"}
    metadata = json.loads(file.read_text())
    metadata["network_data_format"]["outputs"]["pred"]["channel_def"] = names
    file.write_text(json.dumps(metadata))
    bundle = import_monai(root, tmp_path / "models")
    assert [(label.value, label.name) for label in bundle.manifest.labels] == painted
    assert "in this order: Whole tumor, Tumor core," in bundle.manifest.limitations
    given = nets.UNet(**{key: v for key, v in UNET.items() if key != "_target_"}).eval()
    given.load_state_dict(torch.load(root / "models" / "model.pt")["model"])
    image = torch.randn(1, 1, 16, 16, 16, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(network_from_bundle(bundle)(image), given(image)[:, [1, 0, 2]])


def test_axes_that_the_reader_turns_are_turned(tmp_path):
    pytest.importorskip("nibabel")
    from monai.data import NibabelReader

    loading = transform("LoadImaged", reader="NibabelReader", as_closest_canonical=True)
    changes = {"preprocessing": {"_target_": "Compose", "transforms": [loading]}}
    bundle = import_monai(write_bundle_of_monai(tmp_path, **changes), tmp_path / "models")
    (image,) = write_images(tmp_path, 1)
    prepared = prepare_volume(read_volume(image), bundle.manifest.preprocessing)
    reader = NibabelReader(as_closest_canonical=True)
    given, _ = reader.get_data(reader.read(image))
    np.testing.assert_array_equal(prepared.image_CDHW[0], given)


def test_the_largest_component_may_be_kept_on_the_grid_of_the_image(tmp_path):
    steps = [
        after("Activationsd", softmax=True),
        INVERT,
        after("AsDiscreted", argmax=True),
        after("KeepLargestConnectedComponentd", applied_labels=[2]),
    ]
    changes = {"postprocessing": {"_target_": "Compose", "transforms": steps}}
    manifest = import_monai(
        write_bundle_of_monai(tmp_path, **changes), tmp_path / "models"
    ).manifest
    assert [label.keep_largest for label in manifest.labels] == [False, True]
    assert not manifest.preprocessing.decides_first


def test_a_config_in_yaml_is_the_same_model(tmp_path):
    yaml = pytest.importorskip("yaml")
    root = write_bundle_of_monai(tmp_path)
    given = import_monai(root, tmp_path / "models", name="json").manifest
    config = root / "configs" / "inference.json"
    config.with_suffix(".yaml").write_text(yaml.safe_dump(json.loads(config.read_text())))
    config.unlink()
    assert import_monai(root, tmp_path / "models", name="yaml").manifest.network == given.network


def test_the_weights_may_be_loaded_only_where_they_are_there(tmp_path):
    loader = {
        "_target_": "CheckpointLoader",
        "_disabled_": "$not os.path.exists(@ckpt_path)",
        "load_path": "@ckpt_path",
        "load_dict": {"model": "@network"},
    }
    paths = {"bundle_root": "/workspace/bundle", "ckpt_path": "$@bundle_root + '/models/best.pt'"}
    root = write_bundle_of_monai(tmp_path, checkpointloader=loader, **paths)
    (root / "models" / "model.pt").rename(root / "models" / "best.pt")
    assert import_monai(root, tmp_path / "models").manifest.labels


def test_a_snapshot_of_links_is_the_same_model(tmp_path):
    # As the cache of huggingface_hub has it: files are links into a folder of blobs.
    handler = {
        **LOADER,
        "_disabled_": "$not os.path.exists(@bundle_root + '/models/model.pt')",
        "load_path": "$@bundle_root + '/models/model.pt'",
    }
    root = write_bundle_of_monai(tmp_path, checkpointloader="", handlers=[handler])
    for number, file in enumerate(sorted(path for path in root.rglob("*") if path.is_file())):
        blob = tmp_path / "blobs" / str(number)
        blob.parent.mkdir(exist_ok=True)
        file.rename(blob)
        file.symlink_to(blob)
    bundle = import_monai(root, tmp_path / "models")
    assert [label.name for label in bundle.manifest.labels] == ["liver", "spleen"]


@pytest.mark.parametrize("path", ["../other.pt", "/models/../../other.pt"])
def test_weights_outside_of_the_bundle_are_refused(path, tmp_path, monkeypatch):
    (tmp_path / "other.pt").write_bytes(b"x")
    root = write_bundle_of_monai(tmp_path, checkpointloader=LOADER | {"load_path": path})
    monkeypatch.chdir(root)
    for source in (root, Path()):
        with pytest.raises(BundleError, match="outside of itself"):
            import_monai(source, tmp_path / "models")


def test_swin_unetr_of_older_versions_merges_patches_as_it_was_trained(tmp_path):
    pytest.importorskip("einops")
    swin = {
        "_target_": "SwinUNETR",
        "spatial_dims": 3,
        "img_size": [32, 32, 32],
        "in_channels": 1,
        "out_channels": 3,
        "feature_size": 12,
        "depths": [1, 1, 1, 1],
    }
    logits = {}
    for version in ("1.4.0", "1.6.1"):
        root = write_bundle_of_monai(tmp_path / version)
        config = json.loads((root / "configs" / "inference.json").read_text())
        config["network_def"] = swin
        (root / "configs" / "inference.json").write_text(json.dumps(config))
        metadata = json.loads((root / "configs" / "metadata.json").read_text())
        metadata["monai_version"] = version
        (root / "configs" / "metadata.json").write_text(json.dumps(metadata))
        torch.manual_seed(0)
        arguments = {k: v for k, v in swin.items() if k not in ("_target_", "img_size")}
        torch.save(nets.SwinUNETR(**arguments).state_dict(), root / "models" / "model.pt")
        bundle = import_monai(root, tmp_path / "models", name=f"swin{version}")
        torch.manual_seed(1)
        with torch.no_grad():
            logits[version] = network_from_bundle(bundle)(torch.randn(1, 1, 64, 32, 32))
    assert not torch.allclose(logits["1.4.0"], logits["1.6.1"], atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"network_def": {"_target_": "scripts.net.MyNet"}}, r"scripts\.net\.MyNet"),
        ({"network_def": {**UNET, "_target_": "networks.unet.UNet"}}, r"networks\.unet\.UNet"),
        (
            {
                "preprocessing": {
                    "_target_": "Compose",
                    "transforms": [transform("scripts.LoadImaged")],
                }
            },
            r"with scripts\.LoadImaged",
        ),
        ({"network_def": {"_target_": "os.system", "command": "touch x"}}, r"os\.system"),
        ({"network_def": {**UNET, "channels": "$eval('[4, 8]')"}}, "eval"),
        ({"network_def": {**UNET, "channels": "$__import__('os').listdir()"}}, "import"),
        (
            {"preprocessing": {"_target_": "Compose", "transforms": [transform("Lambdad")]}},
            "Lambdad",
        ),
        (
            {
                "preprocessing": {
                    "_target_": "Compose",
                    "transforms": [transform("CropForegroundd", mode="minimum", k_divisible=4)],
                }
            },
            "CropForegroundd of the bundle pads",
        ),
        (
            {
                "preprocessing": {
                    "_target_": "Compose",
                    "transforms": [*LOAD, transform("CastToTyped", dtype=["$np.int16", "int8"])],
                }
            },
            "CastToTyped of the bundle makes whole numbers",
        ),
        ({"inferer": {"_target_": "scripts.Inferer"}}, "Inferer"),
        (
            {
                "postprocessing": {
                    "_target_": "Compose",
                    "transforms": [
                        after("Activationsd", sigmoid=True),
                        after("AsDiscreted", threshold=0.5),
                        after("KeepLargestConnectedComponentd"),
                    ],
                }
            },
            "largest component of regions",
        ),
        (painting("$lambda x: torch.where(x[[2]] > 0, 4, os.system('touch x'))"), "touch x"),
        (painting("$lambda x: torch.where(x[[1]] > 0, 4, 0)"), "each of 3"),
        (painting("$lambda x: torch.where(x[[0]] > 0, 1, 0)", "softmax"), "than regions"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(changes, named, tmp_path):
    root = write_bundle_of_monai(tmp_path, **changes)
    with pytest.raises(BundleError, match=named) as caught:
        import_monai(root, tmp_path / "models")
    assert caught.value.code == "not-supported"


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("$@a + '/models'", "./models"),
        ("$os.path.join(@a, 'x', 'y.pt')", "./x/y.pt"),
        ("$[1.0, 2.0] if @flags#fine else [3.0]", [3.0]),
        ("$[1.0, 2.0] if not @flags::fine else [3.0]", [1.0, 2.0]),
        ("$list(range(len(@list) + 1))", [0, 1, 2, 3]),
        ("$(1.5, -1.5, 2.0 / 4)", [1.5, -1.5, 0.5]),
        ("$@list#1", 6),
        ("$monai.utils.CommonKeys.IMAGE", "image"),
        ("$None", None),
        ("$[8 * 2**i for i in range(3)]", [8, 16, 32]),
        ("$[8] + [16] * 2 + 1 * [3]", [8, 16, 16, 3]),
        ("%list", [5, 6, 7]),
        ("%#flags::fine", False),
        ("$'name of @a'", "name of @a"),
        ("@nested", 7),
        ("$@list[1:]", [6, 7]),
        ("$@list[::-2][0] + round(sum(@list) / 4)", 11),
        ("$1 if os.path.exists(@bundle_root + '/there') else 0", 1),
        ("$not os.path.exists('not there')", True),
    ],
)
def test_the_closed_set_of_expressions(expression, value, tmp_path):
    (tmp_path / "there").mkdir()
    content = {
        "a": ".",
        "flags": {"fine": False},
        "list": [5, 6, "$3 + 4"],
        "nested": "@list#2",
        "wanted": expression,
    }
    assert MonaiConfig(content, tmp_path).get("wanted") == value


@pytest.mark.parametrize(
    "expression",
    [
        "$(lambda: 1)()",
        "$[x for y in range(3) for x in range(3)]",
        "$[[0 for y in range(999)] for x in range(999)]",
        "$2 ** 10**9",
        "$[0] * 10**9",
        "$().__class__",
        "$'%99999999d' % 1",
        "$'a' * 10**9",
        "$open('x')",
        "@wanted",
        "$@missing",
        "%file#key",
        "$1 +",
        "$os.path.exists('/etc')",
        "$os.path.exists('a/../../b')",
    ],
)
def test_nothing_else_is_evaluated(expression, tmp_path):
    with pytest.raises(BundleError, match="wanted"):
        MonaiConfig({"wanted": expression}, tmp_path).get("wanted")


def test_there_is_nothing_behind_references_in_a_circle(tmp_path):
    config = MonaiConfig({"a": "@b#c", "b": "@a#c"}, tmp_path)
    assert not config.has("a#c")
    with pytest.raises(BundleError, match="a#c"):
        config.get("a#c")
