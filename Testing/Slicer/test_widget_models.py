"""The section Models of the panel: find, add, download, give away, delete."""

import json
import shutil
from pathlib import Path

import pytest

from MISFMLib.events import Failed, Finished, Progress
from MISFMLib.models import catalogue

_MODELS = Path(__file__).resolve().parents[2] / "Resources" / "Models"


_FETCHED, _BY_HAND = "Spleen in CT", "PCT-Net pretrained"


@pytest.fixture(autouse=True)
def catalogue_of_two(monkeypatch, tmp_path):
    """A catalogue with a model that a program can get and one that only people can."""
    entry = {"description": "What it is.", "license": "CC-BY-4.0"}
    models = [
        {
            **entry,
            "name": "spleen-ct",
            "kind": "bundle",
            "title": _FETCHED,
            "url": "https://example.org/spleen-ct.zip",
            "size_bytes": 12_400_000,
            "sha256": "0" * 64,
        },
        {
            **entry,
            "name": "pctnet",
            "kind": "checkpoint",
            "title": _BY_HAND,
            "page": "https://example.org/page",
            "file": "pctnet.pt",
        },
    ]
    path = tmp_path / "catalogue.json"
    path.write_text(json.dumps({"format": 1, "models": models}), "utf-8")
    monkeypatch.setattr(catalogue, "resource_path", lambda name: path)
    monkeypatch.setattr(catalogue, "read_tasks", tuple)


@pytest.fixture
def models(panel, monkeypatch, tmp_path):
    """The section Models with a second, own model for CT that needs two volumes."""
    from MISFMLib.models import store

    own = store.models_folder() / "lung-ct"
    shutil.copytree(_MODELS / "hippocampus-mr", own)
    metadata = own / "configs" / "metadata.json"
    content = json.loads(metadata.read_text("utf-8"))
    content["misfm"] |= {"name": "lung-ct", "title": "Lung", "description": "Lobes."}
    content["misfm"]["network"]["in_channels"] = 2
    content["misfm"]["preprocessing"] |= {
        "modality": "CT",
        "channels": ["inspiration", "expiration"],
        "intensity": content["misfm"]["preprocessing"]["intensity"] * 2,
    }
    metadata.write_text(json.dumps(content), "utf-8")
    panel.widget.segmentTab.lookAround()
    panel.widget.segmentTab.refresh()
    panel.ui.modelsSection.collapsed = False
    panel.settle()
    return panel


def listed(panel):
    model_list = panel.ui.modelList
    return [model_list.item(row).text().splitlines()[0] for row in range(model_list.count)]


def test_the_list_marks_what_is_the_users_own(models):
    assert listed(models) == ["Lung", "Hippocampus in T1 MR", _FETCHED, _BY_HAND]
    assert models.ui.modelList.item(0).text().splitlines()[1].startswith("mine · CT")
    assert models.ui.modelSelector.itemText(0) == "Lung (mine)"


def test_search_and_chips_narrow_the_list(models):
    models.ui.modelSearch.text = "t1 hippo"
    assert listed(models) == ["Hippocampus in T1 MR"]
    models.ui.modelSearch.text = ""
    models.ui.ctChip.click()
    assert listed(models) == ["Lung"]
    models.ui.mrChip.click()
    assert len(listed(models)) == 2
    models.ui.mineChip.click()
    assert listed(models) == ["Lung"]


def test_chips_that_would_change_nothing_are_not_shown(panel):
    panel.ui.modelsSection.collapsed = False
    panel.settle()
    assert not any(panel.shown(name) for name in ("ctChip", "mrChip", "mineChip"))


def test_the_card_says_what_for_what_data_how_well_and_under_which_licence(models):
    models.ui.modelList.setCurrentRow(1)
    models.settle()
    assert models.ui.modelSelector.currentData == "hippocampus-mr"
    for words in ("MR volumes", "1 x 1 x 1 mm", "anterior hippocampus 0.90", "CC-BY-SA-4.0"):
        assert words in models.ui.cardLabel.text


def test_a_model_for_several_volumes_asks_for_each_by_its_name(models, make_volume):
    expiration = make_volume(name="CT Expiration")
    inspiration = make_volume(name="CT inspiration")
    models.ui.modelList.setCurrentRow(0)
    models.parameters.setVolume(None)
    models.settle()
    tab = models.widget.segmentTab
    assert [label.text for label in tab._inputs._labels] == ["inspiration:", "expiration:"]
    chosen = [selector.currentNode() for selector in tab._inputs._selectors]
    assert chosen == [inspiration, expiration]
    tab._inputs._selectors[1].setCurrentNode(inspiration)
    models.settle()
    assert models.ui.statusLabel.text == "Each input needs a volume of its own."
    tab._inputs._selectors[1].setCurrentNode(None)
    models.settle()
    assert models.ui.statusLabel.text == "Select the volume for expiration."


def test_an_own_model_can_be_removed_and_a_bundled_one_cannot(models, host):
    models.ui.modelList.setCurrentRow(1)
    models.settle()
    assert not models.ui.removeModelButton.enabled
    models.ui.modelList.setCurrentRow(0)
    models.settle()
    host.dialogs.answer("No")
    models.ui.removeModelButton.click()
    assert len(listed(models)) == 4
    host.dialogs.answer("Yes")
    models.ui.removeModelButton.click()
    models.settle()
    assert listed(models)[0] == "Hippocampus in T1 MR"
    assert models.ui.modelSelector.currentData == "hippocampus-mr"


def test_a_model_that_cannot_be_imported_is_told(models, host, tmp_path):
    path = tmp_path / "model.zip"
    path.write_bytes(b"no zip")
    host.dialogs.answer(str(path))
    models.widget.segmentTab._modelActions._onImportFile()
    assert str(path) in models.ui.failureLabel.text
    assert models.shown("failureFrame")


def test_leaving_the_file_dialogs_changes_nothing(models, host):
    host.dialogs.answer("", "", "")
    models.widget.segmentTab._modelActions._onImportFile()
    models.widget.segmentTab._modelActions._onImportFolder()
    models.ui.exportModelButton.click()
    assert not models.shown("failureFrame")


def test_a_damaged_model_is_listed_with_its_reason(models):
    from MISFMLib.models import store

    (store.models_folder() / "lung-ct" / "configs" / "metadata.json").write_text("{", "utf-8")
    models.widget.segmentTab.lookAround()
    models.parameters.model = "lung-ct"
    models.widget.segmentTab.refresh()
    assert models.ui.statusLabel.text.startswith("This model is damaged")
    assert "no JSON" in models.ui.cardLabel.text


# ------------------------------------------------------------------------- models that can be had


def choose(models, title):
    models.ui.modelList.setCurrentRow(listed(models).index(title))
    models.settle()


def line_of(models, title):
    return models.ui.modelList.item(listed(models).index(title)).text().splitlines()[1]


def test_what_can_be_had_is_greyed_and_says_its_size(models):
    rows = [models.ui.modelList.item(row) for row in (0, listed(models).index(_FETCHED))]
    colours = [row.foreground().color() for row in rows]
    greys = [colour.name() != "#000000" or colour.alpha() < 255 for colour in colours]
    assert greys == [False, True]
    assert line_of(models, _FETCHED) == "not on this computer · 12 MB"
    assert line_of(models, _BY_HAND) == "not on this computer · for training"


def test_reading_the_card_of_what_can_be_had_leaves_the_chosen_model(models):
    chosen = models.ui.modelSelector.currentData
    choose(models, _FETCHED)
    assert "CC-BY-4.0" in models.ui.cardLabel.text
    assert models.ui.modelSelector.currentData == chosen
    assert models.shown("downloadModelButton")
    assert not models.ui.exportModelButton.enabled
    models.ui.modelList.setCurrentRow(1)
    models.settle()
    assert models.ui.modelSelector.currentData == "hippocampus-mr"
    assert not models.shown("downloadModelButton")


def test_the_card_goes_with_the_model_that_is_chosen_above(models):
    choose(models, _FETCHED)
    models.ui.modelSelector.setCurrentIndex(models.ui.modelSelector.findData("lung-ct"))
    models.settle()
    assert "Lobes." in models.ui.cardLabel.text


def test_what_only_people_can_get_says_where(models):
    choose(models, _BY_HAND)
    assert not models.shown("downloadModelButton")
    link = '<a href="https://example.org/page">https://example.org/page</a>'
    assert f"Download pctnet.pt from {link}" in models.ui.cardLabel.text


def test_search_finds_what_can_be_had_and_chips_hide_it(models):
    models.ui.modelSearch.text = "spleen"
    assert listed(models) == [_FETCHED]
    models.ui.ctChip.click()
    assert listed(models) == []


def install(name):
    """Do what a download does."""
    from MISFMLib.models import store

    folder = store.models_folder() / name
    shutil.copytree(_MODELS / "hippocampus-mr", folder)
    metadata = folder / "configs" / "metadata.json"
    content = json.loads(metadata.read_text("utf-8"))
    content["misfm"] |= {"name": name, "title": _FETCHED}
    metadata.write_text(json.dumps(content), "utf-8")
    return {"path": str(folder)}


def test_a_download_shows_how_far_it_is_and_its_model_is_chosen_at_the_end(models):
    choose(models, _FETCHED)
    models.ui.downloadModelButton.click()
    (command,) = models.commands
    assert command.words == ("models", "fetch", "spleen-ct")
    command.progressed.emit(Progress("download", 0.25, "3.1 of 12.4 MB", 9.0))
    assert models.ui.modelProgress.value == 25
    assert models.ui.modelStatusLabel.text == "Downloading, about 9 s left"
    assert not models.ui.importModelButton.enabled
    command.ended.emit(Finished(install("spleen-ct")))
    models.settle()
    assert not models.shown("modelProgress")
    assert models.ui.modelSelector.currentData == "spleen-ct"
    assert models.ui.segmentButton.text == "Segment"


def test_a_download_can_be_stopped_and_goes_on_with_the_next(models):
    choose(models, _FETCHED)
    models.ui.downloadModelButton.click()
    assert models.ui.downloadModelButton.text == "Stop"
    models.ui.downloadModelButton.click()
    assert models.commands[0].isClosed
    assert models.ui.modelStatusLabel.text.startswith("Stopped.")
    models.ui.downloadModelButton.click()
    assert len(models.commands) == 2


def test_a_download_that_fails_is_one_clear_message(models):
    choose(models, _FETCHED)
    models.ui.downloadModelButton.click()
    failed = Failed(
        "https://example.org/spleen-ct.zip cannot be had: HTTP 404 Not Found.",
        code="download-refused",
        remedy="Update MISFM, its catalogue may be out of date, or import the model from a file.",
    )
    models.commands[0].ended.emit(failed)
    assert "HTTP 404" in models.ui.failureLabel.text
    assert models.ui.remedyLabel.text.endswith("or add the model with Import.")
    assert models.ui.downloadModelButton.text == "Download"


def test_closing_the_panel_ends_a_download(models):
    choose(models, _FETCHED)
    models.ui.downloadModelButton.click()
    models.widget.cleanup()
    assert models.commands[0].isClosed


def test_a_published_checkpoint_is_converted_in_a_child_process(models, host):
    host.dialogs.answer("downloads/pctnet.pt")
    models.widget.segmentTab._modelActions._onImportFile()
    (command,) = models.commands
    assert command.words == ("models", "import", "downloads/pctnet.pt")
    command.ended.emit(Finished({"path": "models/pctnet"}))
    models.settle()
    assert models.ui.modelStatusLabel.text.startswith("pctnet is one of your models now.")


def test_nothing_is_downloaded_when_what_it_needs_is_not_installed(models, monkeypatch):
    monkeypatch.setattr(models.widget.segmentTab._modelActions, "_installMissing", lambda: False)
    choose(models, _FETCHED)
    models.ui.downloadModelButton.click()
    assert models.commands == []


@pytest.mark.parametrize("isOpenFirst", [True, False])
def test_in_a_new_home_a_model_that_fits_the_volume_is_chosen(panel, make_volume, isOpenFirst):
    from MISFMLib.models import store

    own = store.models_folder() / "a-ct-model"
    shutil.copytree(_MODELS / "hippocampus-mr", own)
    metadata = own / "configs" / "metadata.json"
    content = json.loads(metadata.read_text("utf-8"))
    content["misfm"] |= {"name": "a-ct-model", "title": "A new model"}
    content["misfm"]["preprocessing"]["modality"] = "CT"
    metadata.write_text(json.dumps(content), "utf-8")
    panel.parameters.model = ""
    if not isOpenFirst:
        make_volume()
    panel.widget.segmentTab.lookAround()
    panel.widget.segmentTab.refresh()
    if isOpenFirst:
        assert panel.parameters.model == "a-ct-model"
        make_volume()
    panel.settle()
    assert panel.parameters.model == "hippocampus-mr"
    panel.ui.modelSelector.setCurrentIndex(panel.ui.modelSelector.findData("a-ct-model"))
    panel.settle()
    make_volume(name="another")
    panel.settle()
    assert panel.parameters.model == "a-ct-model"  # what a person chose stays


def test_a_download_that_was_killed_says_so_and_the_next_one_takes_the_box_away(models):
    choose(models, _FETCHED)
    models.ui.downloadModelButton.click()
    killed = Failed("The program that segments was ended by the system.", code="worker-killed")
    models.commands[-1].ended.emit(killed)
    assert models.shown("failureFrame")
    assert "segments" not in models.ui.failureLabel.text
    assert "goes on" in models.ui.remedyLabel.text
    models.ui.downloadModelButton.click()
    assert not models.shown("failureFrame")


def test_a_search_without_a_hit_says_so(models):
    models.ui.modelSearch.text = "no such organ"
    models.settle()
    assert listed(models) == []
    assert models.ui.cardLabel.text.startswith("No model is found")
    models.ui.modelSearch.text = ""
    models.settle()
    assert not models.ui.cardLabel.text.startswith("No model is found")
