"""Results folders of nnU-Net v2 become bundles; nothing in them is run."""

from __future__ import annotations

import copy
import json
import zipfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from MISFMLib.cli import main
from MISFMLib.configs import InterpolationConfig, NetworkConfig, StagesConfig
from MISFMLib.data.descriptions import describe
from MISFMLib.errors import BundleError, ConfigError, OutputError
from MISFMLib.inference import openvino_conversion, openvino_network
from MISFMLib.jobs.imports import sources
from MISFMLib.jobs.imports.nnunet import import_nnunet
from MISFMLib.models.bundle import read_previous, read_weights, verify_bundle
from MISFMLib.models.recognise import kind_of
from MISFMLib.networks import build_network, network_from_bundle

CONV = {2: "torch.nn.modules.conv.Conv2d", 3: "torch.nn.modules.conv.Conv3d"}
CONFIGURATION: dict[str, Any] = {
    "preprocessor_name": "DefaultPreprocessor",
    "patch_size": [8, 16, 16],
    "spacing": [1.0, 1.0, 1.0],
    "normalization_schemes": ["ZScoreNormalization"],
    "use_mask_for_norm": [False],
    "resampling_fn_data": "resample_data_or_seg_to_shape",
    "resampling_fn_data_kwargs": {"order": 3, "order_z": 0, "force_separate_z": None},
    "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
    "resampling_fn_probabilities_kwargs": {"order": 1, "order_z": 0, "force_separate_z": None},
    "architecture": {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 2,
            "features_per_stage": [4, 6],
            "conv_op": CONV[3],
            "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
            "strides": [[1, 1, 1], [2, 2, 2]],
            "n_conv_per_stage": [2, 1],
            "n_conv_per_stage_decoder": [1],
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-5, "affine": True},
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
    },
}
PLANS: dict[str, Any] = {
    "dataset_name": "Dataset007_Test",
    "plans_name": "nnUNetPlans",
    "original_median_spacing_after_transp": [1.0, 1.0, 1.0],
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "label_manager": "LabelManager",
    "foreground_intensity_properties_per_channel": {
        "0": {"mean": 5.0, "std": 2.0, "percentile_00_5": 0.0, "percentile_99_5": 9.0}
    },
    "configurations": {"3d_fullres": CONFIGURATION},
}
DATASET: dict[str, Any] = {
    "channel_names": {"0": "MRI"},
    "labels": {"background": 0, "liver": 1, "blob": 2},
    "numTraining": 3,
    "file_ending": ".nii.gz",
}


def network_weights(
    in_channels: int = 1, classes: int = 3, seed: int = 0, dimensions: int = 3
) -> dict[str, torch.Tensor]:
    """Weights of the network in `CONFIGURATION` by nnU-Net's names, repeated ones included."""
    random = torch.Generator().manual_seed(seed)
    kernel = (3,) * dimensions

    def block(prefix: str, before: int, after: int) -> dict[str, torch.Tensor]:
        values = {
            "conv.weight": torch.randn((after, before, *kernel), generator=random) / 5,
            "conv.bias": torch.randn(after, generator=random),
            "norm.weight": 1 + torch.randn(after, generator=random) / 4,
            "norm.bias": torch.randn(after, generator=random),
        }
        parts = {"conv": "all_modules.0", "norm": "all_modules.1"}
        again = {
            f"{parts[name.split('.')[0]]}.{name.split('.')[1]}": t for name, t in values.items()
        }
        return {f"{prefix}.{name}": tensor for name, tensor in (values | again).items()}

    encoder = block("encoder.stages.0.0.convs.0", in_channels, 4)
    encoder |= block("encoder.stages.0.0.convs.1", 4, 4)
    encoder |= block("encoder.stages.1.0.convs.0", 4, 6)
    ones, twos = (1,) * dimensions, (2,) * dimensions
    return {
        **encoder,
        **{f"decoder.{name}": tensor for name, tensor in encoder.items()},
        **block("decoder.stages.0.convs.0", 8, 4),
        "decoder.transpconvs.0.weight": torch.randn((6, 4, *twos), generator=random) / 3,
        "decoder.transpconvs.0.bias": torch.randn(4, generator=random),
        "decoder.seg_layers.0.weight": torch.randn((classes, 4, *ones), generator=random),
        "decoder.seg_layers.0.bias": torch.randn(classes, generator=random),
    }


def write_results(
    folder: Path,
    *,
    plans: dict[str, Any] | None = None,
    dataset: dict[str, Any] | None = None,
    configuration: str = "3d_fullres",
    folds: dict[str, dict[str, torch.Tensor]] | None = None,
    mirror_axes: tuple[int, ...] | None = (0, 1, 2),
    trainer: str = "nnUNetTrainer",
) -> Path:
    """Write a results folder below `folder` and return it."""
    plans = copy.deepcopy(PLANS if plans is None else plans)
    dataset = copy.deepcopy(DATASET if dataset is None else dataset)
    name = f"{trainer}__{plans['plans_name']}__{configuration}"
    place = folder / plans["dataset_name"] / name
    place.mkdir(parents=True)
    (place / "plans.json").write_text(json.dumps(plans))
    (place / "dataset.json").write_text(json.dumps(dataset))
    for fold, weights in (folds or {"0": network_weights()}).items():
        checkpoint = {
            "network_weights": weights,
            "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(9)}}},
            "logging": {"ema": [np.float32(0.5)], "lr": [np.float64(0.01)]},
            "_best_ema": np.float32(0.5),
            "current_epoch": 2,
            "init_args": {
                "plans": plans,
                "configuration": configuration,
                "fold": fold,
                "dataset_json": dataset,
                "device": torch.device("cpu"),
            },
            "trainer_name": trainer,
            "inference_allowed_mirroring_axes": mirror_axes,
        }
        (place / f"fold_{fold}").mkdir()
        torch.save(checkpoint, place / f"fold_{fold}" / "checkpoint_final.pth")
    return place


def changed(section: dict, **values) -> dict:
    return {**copy.deepcopy(section), **values}


def with_configuration(**values) -> dict:
    configuration = {**copy.deepcopy(CONFIGURATION), **values}
    return changed(PLANS, configurations={"3d_fullres": configuration})


def imported(place: Path, tmp_path: Path, **options):
    return import_nnunet(place, tmp_path / "models", **options)


def test_what_the_folder_says_is_in_the_bundle(tmp_path):
    place = write_results(tmp_path / "results")
    (place / "fold_0" / "validation").mkdir()
    summary = {"mean": {"1": {"Dice": 0.8}, "2": {"Dice": 0.6}}}
    (place / "fold_0" / "validation" / "summary.json").write_text(json.dumps(summary))

    manifest = imported(place, tmp_path).manifest

    assert manifest.name == "Dataset007_Test-3d_fullres"
    assert [(label.value, label.name) for label in manifest.labels] == [(1, "liver"), (2, "blob")]
    assert manifest.labels[0].type.value == "10200004"
    assert manifest.evaluation["liver"] == {"Dice": 0.8}
    assert manifest.provenance["folds"] == "0"
    assert manifest.preprocessing.resampling.order == 3
    assert manifest.preprocessing.patch_size == (8, 16, 16)
    assert manifest.preprocessing.modality == "MR"


def test_repeated_tensors_and_the_optimizer_are_left_out(tmp_path):
    bundle = imported(write_results(tmp_path / "results"), tmp_path)
    weights = read_weights(bundle)
    expected = {
        name: tensor
        for name, tensor in network_weights().items()
        if "all_modules" not in name and not name.startswith("decoder.encoder")
    }
    assert sum(array.size for array in weights.values()) == sum(map(torch.numel, expected.values()))


def test_a_model_is_replaced_only_when_that_is_asked_for(tmp_path):
    place = write_results(tmp_path / "results")
    imported(place, tmp_path)
    with pytest.raises(OutputError):
        imported(place, tmp_path)
    again = imported(place, tmp_path, overwrite=True)
    verify_bundle(again)


def test_folds_are_averaged(tmp_path, seed):
    folds = {str(number): network_weights(seed=number) for number in (0, 1, 10)}
    several = imported(write_results(tmp_path / "a", folds=folds), tmp_path, name="several")
    image = torch.randn(1, 1, 8, 16, 16)
    singles = [
        imported(write_results(tmp_path / f"b{n}", folds={"0": w}), tmp_path, name=f"one{n}")
        for n, w in folds.items()
    ]
    with torch.no_grad():
        mean = sum(network_from_bundle(bundle)(image) for bundle in singles) / 3
        torch.testing.assert_close(network_from_bundle(several)(image), mean)
    assert several.manifest.provenance["folds"] == "0, 1, 10"


def test_folds_that_are_still_trained_are_left_out_as_in_nnunet(tmp_path, caplog):
    folds = {str(number): network_weights(seed=number) for number in range(2)}
    place = write_results(tmp_path / "a", folds=folds)
    running = place / "fold_1" / "checkpoint_final.pth"
    running = running.rename(running.with_name("checkpoint_latest.pth"))

    manifest = imported(place, tmp_path, name="one").manifest
    assert (manifest.provenance["folds"], manifest.network.members) == ("0", 1)
    assert "Not trained to the end, and left out: fold 1." in manifest.limitations
    assert manifest.limitations in caplog.text

    final = place / "fold_0" / "checkpoint_final.pth"
    final.rename(final.with_name("checkpoint_best.pth"))
    manifest = imported(place, tmp_path, name="best").manifest
    assert manifest.provenance["folds"] == "0"
    assert "the weights are those of checkpoint_best.pth." in manifest.limitations

    running.rename(running.with_name("checkpoint_best.pth"))
    assert imported(place, tmp_path, name="both").manifest.provenance["folds"] == "0, 1"


def test_the_fold_of_all_cases_is_used_only_alone(tmp_path):
    weights = {"all": network_weights(seed=1), "0": network_weights()}
    both = imported(write_results(tmp_path / "a", folds=weights), tmp_path, name="both")
    alone = write_results(tmp_path / "b", folds={"all": weights["all"]})
    assert both.manifest.provenance["folds"] == "0"
    assert imported(alone, tmp_path, name="alone").manifest.provenance["folds"] == "all"


def test_some_folds_are_taken_alone(tmp_path):
    folds = {name: network_weights(seed=seed) for seed, name in enumerate(["0", "1", "2", "all"])}
    place = write_results(tmp_path / "a", folds=folds)
    final = place / "fold_2" / "checkpoint_final.pth"
    final.rename(final.with_name("checkpoint_best.pth"))

    def of(*chosen):
        return imported(place, tmp_path, folds=chosen, overwrite=True).manifest

    assert (of("1").provenance["folds"], of("1", "0").provenance["folds"]) == ("1", "1, 0")
    assert of("all").network.members == 1
    assert len({of(name).weights_sha256 for name in folds}) == len(folds)
    assert of("2").limitations == (
        "Not trained to the end; the weights are those of checkpoint_best.pth."
    )
    with pytest.raises(ConfigError, match=r"folds 0, 2; there are 0, 1, all \(checkpoint_final"):
        of("0", "2")  # of two kinds


def test_a_zip_with_folders_around_is_the_same_model(tmp_path):
    place = write_results(tmp_path / "results")
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted((tmp_path / "results").rglob("*")):
            if path.is_file():
                file.write(path, Path("deep", "er", path.relative_to(tmp_path / "results")))
        file.writestr("deep/er/postprocessing.pkl", b"never opened")
    assert kind_of(archive) == "nnunet"
    from_zip, from_folder = (
        imported(archive, tmp_path, name="z"),
        imported(place, tmp_path, name="f"),
    )
    assert from_zip.manifest.weights_sha256 == from_folder.manifest.weights_sha256


def test_a_zip_of_old_windows_has_backslashes_in_its_names(tmp_path):
    place = write_results(tmp_path / "results")
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in place.rglob("*.*"):
            entry = zipfile.ZipInfo()
            entry.filename = str(path.relative_to(tmp_path)).replace("/", "\\")
            file.writestr(entry, path.read_bytes())
    assert kind_of(archive) == "nnunet"
    assert imported(archive, tmp_path).manifest.provenance["folds"] == "0"


def test_the_checkpoint_tells_the_configuration_of_a_renamed_folder(tmp_path):
    place = write_results(tmp_path / "results")
    renamed = place.rename(place.parent / "my liver")
    bundle = imported(renamed, tmp_path, configuration="3d_fullres")
    assert bundle.manifest.provenance["configuration"] == "3d_fullres"
    with pytest.raises(ConfigError, match=r"my liver \(3d_fullres\)"):
        imported(renamed, tmp_path, configuration="2d")


@pytest.mark.parametrize("is_alone", [False, True], ids=["in its results", "copied out of them"])
@pytest.mark.parametrize("part", ["fold_0", "fold_0/checkpoint_final.pth"])
def test_of_a_part_of_the_results_is_said_what_to_give(part, is_alone, tmp_path, capsys):
    place = write_results(tmp_path / "results")
    if is_alone:
        (place / "plans.json").unlink()
    assert main(["models", "import", str(place / part)]) == 4
    assert "Give the folder Trainer__Plans__configuration" in capsys.readouterr().err


@pytest.mark.parametrize("is_zip", [False, True], ids=["folder", "zip"])
def test_results_of_the_first_nnunet_are_refused_as_such(is_zip, tmp_path, capsys):
    place = tmp_path / "Task007_Liver" / "nnUNetTrainerV2__nnUNetPlansv2.1"
    (place / "fold_0").mkdir(parents=True)
    for name in ("plans.pkl", "fold_0/model_final_checkpoint.model"):
        (place / name).write_bytes(b"a pickle")
    source = tmp_path / "Task007_Liver"
    if is_zip:
        with zipfile.ZipFile(source := tmp_path / "Task007_Liver.zip", "w") as archive:
            for file in place.rglob("*"):
                archive.write(file, file.relative_to(tmp_path))
    assert main(["models", "import", str(source)]) == 4
    assert "is of nnU-Net v1" in capsys.readouterr().err


def test_results_behind_a_link_are_found(tmp_path):
    place = write_results(tmp_path / "scratch")
    linked = tmp_path / "results" / "Dataset007_Test"
    linked.mkdir(parents=True)
    (linked / place.name).symlink_to(place, target_is_directory=True)
    (linked / "around").symlink_to(tmp_path / "results", target_is_directory=True)
    assert kind_of(tmp_path / "results") == "nnunet"
    bundle = imported(tmp_path / "results", tmp_path)
    assert bundle.manifest.provenance["configuration"] == "3d_fullres"


def test_a_checkpoint_that_git_lfs_did_not_fetch_is_said_to_be_one(tmp_path):
    place = write_results(tmp_path / "results")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 245366784\n"
    (place / "fold_0" / "checkpoint_final.pth").write_text(pointer)
    with pytest.raises(BundleError, match="is a pointer of Git LFS") as caught:
        imported(place, tmp_path)
    assert "git lfs pull" in caught.value.remedy


def test_what_other_trainers_log_does_not_matter(tmp_path):
    place = write_results(tmp_path / "results")
    file = place / "fold_0" / "checkpoint_final.pth"
    content = torch.load(file, weights_only=False)
    content["logging"] = defaultdict(list, {"a": [np.int32(3), np.arange(2, dtype=np.uint16)]})
    content["init_args"]["folder"] = Path("/somewhere")
    torch.save(content, file)
    assert imported(place, tmp_path).manifest.provenance["configuration"] == "3d_fullres"


@pytest.mark.parametrize(
    ("file", "change", "named"),
    [
        ("plans.json", lambda plans: [], "plans.json"),
        ("dataset.json", lambda dataset: 3, "dataset.json"),
        (
            "plans.json",
            lambda p: changed(p, configurations={"3d_fullres": {}}),
            "patch_size|reader",
        ),
        (
            "plans.json",
            lambda p: {
                **with_configuration(normalization_schemes=["CTNormalization"]),
                "foreground_intensity_properties_per_channel": {},
            },
            "percentile_00_5",
        ),
    ],
)
def test_what_a_description_lacks_is_named(file, change, named, tmp_path):
    place = write_results(tmp_path / "results")
    (place / file).write_text(json.dumps(change(json.loads((place / file).read_text()))))
    with pytest.raises(BundleError, match=named):
        imported(place, tmp_path)


def test_folds_without_a_label_take_nothing_from_its_score(tmp_path):
    weights = network_weights()
    place = write_results(tmp_path / "results", folds={"0": weights, "1": weights})
    for fold, liver in (("0", float("nan")), ("1", 0.5)):  # nnU-Net writes NaN for what no case has
        folder = place / f"fold_{fold}" / "validation"
        folder.mkdir()
        means = {"1": {"Dice": liver}, "2": {"Dice": 0.75}}
        (folder / "summary.json").write_text(json.dumps({"mean": means}))
    evaluation = imported(place, tmp_path).manifest.evaluation
    assert evaluation["liver"] == {"Dice": 0.5}
    assert evaluation["blob"] == {"Dice": 0.75}


def test_the_card_tells_what_nnunet_would_clean(tmp_path):
    place = write_results(tmp_path / "results")
    folder = place / "crossval_results_folds_0_1_2_3_4"
    folder.mkdir()
    (folder / "postprocessing.pkl").write_bytes(b"never opened")
    cleaning = {
        "postprocessing_fns": ["remove_all_but_largest_component_from_segmentation"] * 2,
        "postprocessing_kwargs": [{"labels_or_regions": [1, 2]}, {"labels_or_regions": 2}],
    }
    (folder / "postprocessing.json").write_text(json.dumps(cleaning))
    manifest = imported(place, tmp_path).manifest
    assert "only of liver and blob, of blob" in manifest.limitations
    assert not any(label.keep_largest for label in manifest.labels)


@pytest.mark.parametrize("name", ["../plans.json", "/plans.json", "a/../../plans.json"])
def test_a_zip_that_leads_out_of_its_folder_is_refused(name, tmp_path):
    archive = tmp_path / "export.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr(name, "{}")
    with pytest.raises(BundleError, match="leads out") as caught:
        imported(archive, tmp_path)
    assert caught.value.code == "bundle-unsafe-zip"


def test_only_what_is_unpacked_of_a_zip_may_be_too_large(tmp_path, monkeypatch, capsys):
    place = write_results(tmp_path / "results")
    validation = place / "fold_0" / "validation"
    validation.mkdir()
    (validation / "case.nii.gz").write_bytes(bytes(10**6))
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for file in place.rglob("*"):
            archive.write(file, file.relative_to(tmp_path))
    monkeypatch.setattr(sources, "_MAX_BYTES", 10**6)
    imported(tmp_path / "all.zip", tmp_path)
    monkeypatch.setattr(sources, "_MAX_BYTES", 1000)
    assert main(["models", "import", str(tmp_path / "all.zip")]) == 4
    assert "give the folder of one model" in capsys.readouterr().err


def test_old_plans_describe_the_same_network(tmp_path):
    new = imported(write_results(tmp_path / "new"), tmp_path, name="new")
    configuration = {key: v for key, v in CONFIGURATION.items() if key != "architecture"}
    configuration |= {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 4,
        "unet_max_num_features": 6,
        "n_conv_per_stage_encoder": [2, 1],
        "n_conv_per_stage_decoder": [1],
        "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2]],
        "conv_kernel_sizes": [[3, 3, 3], [3, 3, 3]],
    }
    plans = changed(PLANS, configurations={"3d_fullres": configuration})
    plans["foreground_intensity_properties_by_modality"] = plans.pop(
        "foreground_intensity_properties_per_channel"
    )
    dataset = changed(DATASET)
    dataset["modality"] = dataset.pop("channel_names")
    old = imported(
        write_results(tmp_path / "old", plans=plans, dataset=dataset), tmp_path, name="old"
    )
    assert old.manifest.network == new.manifest.network
    assert old.manifest.preprocessing == new.manifest.preprocessing


@pytest.mark.parametrize("dimensions", [2, 3])
def test_one_number_stands_for_all_edges_of_all_stages(dimensions, tmp_path):
    architecture = copy.deepcopy(CONFIGURATION["architecture"])
    architecture["arch_kwargs"] |= {"kernel_sizes": 3, "strides": [1, 2]}
    plans = with_configuration(
        patch_size=[16] * dimensions, spacing=[1.0] * dimensions, architecture=architecture
    )
    place = write_results(
        tmp_path / "results",
        plans=plans,
        folds={"0": network_weights(dimensions=dimensions)},
        mirror_axes=(0, 1),
    )
    stages = imported(place, tmp_path).manifest.network.stages
    assert stages is not None
    assert stages.kernels[0] == ((1, 3, 3) if dimensions == 2 else (3, 3, 3))


def test_prefixes_of_wrapped_networks_are_removed(tmp_path):
    wrapped = {f"module._orig_mod.{n}": t for n, t in network_weights().items()}
    bundle = imported(write_results(tmp_path / "results", folds={"0": wrapped}), tmp_path)
    plain = imported(write_results(tmp_path / "plain"), tmp_path, name="plain")
    assert bundle.manifest.weights_sha256 == plain.manifest.weights_sha256


def test_labels_that_are_not_consecutive_are_numbered_as_nnunet_predicts_them(tmp_path):
    dataset = changed(DATASET, labels={"spleen": 7, "background": 0, "liver": 3, "ignore": 8})
    manifest = imported(write_results(tmp_path / "results", dataset=dataset), tmp_path).manifest
    assert [(label.value, label.name) for label in manifest.labels] == [(1, "liver"), (2, "spleen")]
    assert "3, 7" in manifest.limitations


def test_regions_keep_their_order(tmp_path):
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "spot": 3}
    dataset = changed(DATASET, labels=labels, regions_class_order=[1, 300, 2])
    manifest = imported(write_results(tmp_path / "results", dataset=dataset), tmp_path).manifest
    assert [(label.value, label.name) for label in manifest.labels] == [
        (1, "whole without core"),
        (300, "core without spot"),
        (2, "spot"),
    ]
    assert manifest.preprocessing.decision == "regions"


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        ({"whole tumor": [1, 2, 3], "tumor core": [2, 3], "enhancing tumor": 3}, [1, 2, 3]),
        ({"kidney and mass": [1, 2, 3], "mass": [2, 3], "tumor": 2}, [1, 3, 2]),
    ],
)
def test_what_is_left_of_a_painted_region_is_called_as_its_data_set_calls_it(
    tmp_path, labels, order
):
    dataset = changed(DATASET, labels={"background": 0, **labels}, regions_class_order=order)
    folder = write_results(tmp_path / "results", dataset=dataset)
    (folder / "fold_0" / "validation").mkdir()
    means = {key: {"Dice": 0.9} for key in ("(1, 2, 3)", "(2, 3)", "last")}
    (folder / "fold_0" / "validation" / "summary.json").write_text(json.dumps({"mean": means}))
    manifest = imported(folder, tmp_path).manifest
    in_the_data_set = describe(tmp_path, dataset).found.label_names
    assert {label.value: label.name for label in manifest.labels} == in_the_data_set
    assert set(manifest.evaluation) == {*labels, "cases"}  # a score is that of the whole region


def test_a_cascade_needs_its_first_stage_and_brings_it_along(tmp_path):
    configurations = {
        "3d_lowres": changed(CONFIGURATION, spacing=[2.0, 2.0, 2.0]),
        "3d_fullres": CONFIGURATION,
        "3d_cascade_fullres": {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"},
    }
    plans = changed(PLANS, configurations=configurations)
    second = write_results(
        tmp_path / "results",
        plans=plans,
        configuration="3d_cascade_fullres",
        folds={"0": network_weights(in_channels=3)},
    )
    with pytest.raises(BundleError, match="does not lie beside it"):
        imported(second, tmp_path)
    write_results(tmp_path / "results", plans=plans, configuration="3d_lowres")
    bundle = imported(tmp_path / "results", tmp_path)
    assert bundle.manifest.preprocessing.previous_labels == (1, 2)
    assert read_previous(bundle).manifest.preprocessing.spacing_dhw == (2.0, 2.0, 2.0)
    verify_bundle(bundle)
    weights = bundle.path / "previous" / "models" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match="SHA-256"):
        verify_bundle(bundle)
    with pytest.raises(ConfigError, match="3d_lowres"):
        imported(tmp_path / "results", tmp_path, configuration="2d")


def test_a_cascade_of_regions_looks_for_the_declared_labels_in_their_order(tmp_path):
    configurations = {
        "3d_lowres": CONFIGURATION,
        "3d_cascade_fullres": {**CONFIGURATION, "previous_stage": "3d_lowres"},
    }
    plans = changed(PLANS, configurations=configurations)
    labels = {"background": 0, "whole": [1, 2, 4], "rim": [2], "ignore": 5}
    dataset = changed(DATASET, labels=labels, regions_class_order=[4, 2])
    for configuration, channels in (("3d_lowres", 1), ("3d_cascade_fullres", 4)):
        write_results(
            tmp_path / "results",
            plans=plans,
            dataset=dataset,
            configuration=configuration,
            folds={"0": network_weights(in_channels=channels, classes=2)},
        )
    bundle = imported(tmp_path / "results", tmp_path)
    assert bundle.manifest.preprocessing.previous_labels == (1, 2, 4)
    assert [label.value for label in read_previous(bundle).manifest.labels] == [4, 2]


@pytest.mark.parametrize(
    ("function", "arguments", "orders", "choice"),
    [
        ("resample_data_or_seg_to_shape", {"order": 0, "is_seg": True}, 0, "nearest"),
        ("resample_torch_fornnunet", {"is_seg": True}, 1, "lowest"),
        ("resample_torch_fornnunet", {"memefficient_seg_resampling": True}, 1, "above-half"),
    ],
)
def test_a_cascade_resamples_the_labels_before_as_its_plans_say(
    function, arguments, orders, choice, tmp_path
):
    second = {
        **CONFIGURATION,
        "previous_stage": "3d_lowres",
        "resampling_fn_seg": function,
        "resampling_fn_seg_kwargs": {**arguments, "force_separate_z": False},
    }
    plans = changed(
        PLANS, configurations={"3d_lowres": CONFIGURATION, "3d_cascade_fullres": second}
    )
    for configuration, channels in (("3d_lowres", 1), ("3d_cascade_fullres", 3)):
        write_results(
            tmp_path / "results",
            plans=plans,
            configuration=configuration,
            folds={"0": network_weights(in_channels=channels)},
        )
    space = imported(tmp_path / "results", tmp_path).manifest.preprocessing
    assert space.previous_resampling == InterpolationConfig(order=orders, separate="never")
    assert space.previous_choice == choice


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"preprocessor_name": "MyPreprocessor"}, "MyPreprocessor"),
        ({"normalization_schemes": ["MyNormalization"]}, "MyNormalization"),
        ({"resampling_fn_data": "my_resampling"}, "my_resampling"),
        ({"resampling_fn_data_kwargs": {"separate_z_anisotropy_threshold": 2}}, "threshold"),
        (
            {
                "resampling_fn_probabilities": "resample_torch_fornnunet",
                "resampling_fn_probabilities_kwargs": {"mode": "nearest"},
            },
            "nearest",
        ),
        (
            {"architecture": {"network_class_name": "os.system", "arch_kwargs": {}}},
            "os.system",
        ),
    ],
)
def test_what_is_not_known_is_refused_by_name(values, named, tmp_path):
    place = write_results(tmp_path / "results", plans=with_configuration(**values))
    with pytest.raises(BundleError, match=named) as caught:
        imported(place, tmp_path)
    assert caught.value.code == "not-supported"


def test_a_trainer_with_another_network_is_refused_by_name(tmp_path):
    weights = network_weights() | {"attention.weight": torch.zeros(3)}
    place = write_results(tmp_path / "results", folds={"0": weights}, trainer="MyTrainer")
    with pytest.raises(BundleError, match=r"attention\.weight.*MyTrainer"):
        imported(place, tmp_path)


def test_code_in_a_checkpoint_is_not_run(tmp_path):
    place = write_results(tmp_path / "results")
    marker = tmp_path / "was-run"

    class Evil:
        def __reduce__(self):
            return Path.touch, (marker,)

    torch.save({"network_weights": Evil()}, place / "fold_0" / "checkpoint_final.pth")
    with pytest.raises(BundleError) as caught:
        imported(place, tmp_path)
    assert caught.value.code == "checkpoint-unsafe"
    assert not marker.exists()


def test_a_network_of_slices_segments_slice_by_slice(tmp_path):
    architecture = copy.deepcopy(CONFIGURATION["architecture"])
    arguments = architecture["arch_kwargs"]
    arguments |= {"kernel_sizes": [[3, 3], [3, 3]], "strides": [[1, 1], [2, 2]]}
    plans = with_configuration(patch_size=[16, 16], spacing=[1.0, 1.0], architecture=architecture)
    weights = network_weights(dimensions=2)
    weights["decoder.seg_layers.0.bias"] = torch.zeros(3)
    place = write_results(tmp_path / "r", plans=plans, folds={"0": weights}, mirror_axes=(0, 1))
    assert main(["models", "import", str(place), "--name", "slices"]) == 0
    array = np.random.default_rng(0).normal(size=(5, 24, 20)).astype(np.float32)
    labels = {}
    for name, part in (("forward", array), ("backward", array[::-1])):
        sitk.WriteImage(sitk.GetImageFromArray(part), str(tmp_path / f"{name}.nii.gz"))
        words = ["segment", str(tmp_path / f"{name}.nii.gz"), "-m", "slices", "-o"]
        assert main([*words, str(tmp_path / f"{name}-labels.nii.gz"), "--precision", "fp32"]) == 0
        labels[name] = sitk.GetArrayFromImage(
            sitk.ReadImage(str(tmp_path / f"{name}-labels.nii.gz"))
        )
    assert len(np.unique(labels["forward"])) > 1
    np.testing.assert_array_equal(labels["backward"][::-1], labels["forward"])


@pytest.mark.parametrize("kind", ["plain", "slices", "regions", "folds"])
def test_an_exported_model_is_the_imported_one(kind, tmp_path):
    options: dict[str, Any] = {}
    if kind == "slices":
        architecture = copy.deepcopy(CONFIGURATION["architecture"])
        architecture["arch_kwargs"] |= {
            "conv_op": CONV[2],
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm2d",
            "kernel_sizes": [[3, 3], [3, 3]],
            "strides": [[1, 1], [2, 2]],
        }
        options["plans"] = with_configuration(
            patch_size=[16, 16], spacing=[1.0, 1.0], architecture=architecture
        )
        options |= {"folds": {"0": network_weights(dimensions=2)}, "mirror_axes": (0, 1)}
    elif kind == "regions":
        labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "spot": 3}
        options["dataset"] = changed(DATASET, labels=labels, regions_class_order=[1, 3, 2])
    elif kind == "folds":
        options["folds"] = {str(number): network_weights(seed=number) for number in (0, 1)}
    given = imported(write_results(tmp_path / "results", **options), tmp_path, name="given")
    assert (
        main(["models", "export", str(given.path), str(tmp_path / "out"), "--format", "nnunet"])
        == 0
    )
    (place,) = (tmp_path / "out").iterdir()
    again = imported(place, tmp_path, name="again")
    assert again.manifest.network == given.manifest.network
    assert again.manifest.preprocessing == given.manifest.preprocessing
    assert again.manifest.labels == given.manifest.labels
    assert again.manifest.weights_sha256 == given.manifest.weights_sha256
    # nnU-Net loads strictly: all names that it wrote itself are there.
    theirs, ours = (
        torch.load(file / "fold_0" / "checkpoint_final.pth", weights_only=False)["network_weights"]
        for file in (next((tmp_path / "results").glob("*/*")), place)
    )
    assert theirs.keys() == ours.keys()


def test_a_model_that_nnunet_does_not_know_is_not_exported(tmp_path, capsys):
    words = ["models", "export", "hippocampus-mr", str(tmp_path / "out"), "--format", "nnunet"]
    assert main(words) == 4
    assert "pctnet" in capsys.readouterr().err


def test_openvino_computes_a_network_that_was_traced_on_a_small_part(seed):
    pytest.importorskip("openvino")
    if not openvino_network.is_x86():
        pytest.skip("OpenVINO is used on x86 CPUs only")
    stages = StagesConfig(
        kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
        blocks=(1, 2, 1),
        decoder_blocks=(1, 2),
    )
    config = NetworkConfig(
        architecture="resencunet", num_classes=3, level_channels=(4, 6, 8), stages=stages
    )
    network = build_network(config).eval()
    image = torch.randn(1, 1, 8, 40, 24)
    converted = openvino_network.OpenVINONetwork(
        openvino_conversion.convert(network, image), "fp32", threads=1
    )
    with torch.inference_mode():
        torch.testing.assert_close(converted(image), network(image), atol=1e-4, rtol=1e-3)
