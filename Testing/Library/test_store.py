"""The model store: finding, importing, exporting, removing, and downloads that survive cuts."""

from __future__ import annotations

import hashlib
import http.server
import json
import shutil
import socket
import struct
import sys
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from MISFMLib.configs import LabelConfig, NetworkConfig, PreprocessingConfig
from MISFMLib.errors import BundleError, OutputError
from MISFMLib.events import Notice, Progress, ignore_events
from MISFMLib.models import bundle_files, catalogue, download, store
from MISFMLib.models.bundle import BundleManifest, read_weights, write_bundle, zip_bundle
from MISFMLib.models.catalogue import CatalogueEntry


def make_bundle(folder: Path, name: str = "tiny", **changes):
    manifest = BundleManifest(
        name=name,
        title="A tiny model",
        license="CC-BY-4.0",
        network=NetworkConfig(),
        preprocessing=PreprocessingConfig(),
        labels=(LabelConfig(value=1, name="thing"),),
        **changes,
    )
    return write_bundle(folder, manifest, {"weight": np.arange(6, dtype=np.float16)})


@pytest.fixture
def a_bundle(tmp_path):
    return make_bundle(tmp_path / "made" / "tiny")


@pytest.fixture
def resources(tmp_path, monkeypatch):
    """Resources with one bundled model and an empty catalogue that tests may fill."""
    folder = tmp_path / "Resources"
    make_bundle(folder / "Models" / "bundled-one", "bundled-one")
    (folder / "catalogue.json").write_text('{"format": 1, "models": []}', "utf-8")
    monkeypatch.setattr(store, "resource_path", lambda name: folder / name)
    monkeypatch.setattr(catalogue, "resource_path", lambda name: folder / name)
    monkeypatch.setattr(catalogue, "read_tasks", tuple)
    return folder


def fill_catalogue(resources: Path, **entry) -> None:
    entry = {"title": "T", "description": "D", "license": "L", "kind": "bundle", **entry}
    content = {"format": 1, "models": [entry]}
    (resources / "catalogue.json").write_text(json.dumps(content), "utf-8")


def code_of(action) -> str:
    with pytest.raises(BundleError) as caught:
        action()
    assert caught.value.remedy
    return caught.value.code


# ------------------------------------------------------------------------------- on this machine


def test_the_store_is_where_the_environment_says_or_in_the_users_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MISFM_HOME", str(tmp_path / "here"))
    assert store.models_folder() == tmp_path / "here" / "models"
    monkeypatch.delenv("MISFM_HOME")
    assert store.home().name == "MISFM"


def test_an_imported_folder_or_zip_is_found_by_name_and_by_path(a_bundle, tmp_path):
    zipped = zip_bundle(a_bundle, tmp_path / "tiny.zip")
    imported = store.import_model(a_bundle.path)
    assert imported.path == store.models_folder() / "tiny"
    assert store.import_model(zipped, name="other").path == store.models_folder() / "other"
    for name_or_path in ("tiny", "other", zipped, a_bundle.path):
        found = store.find_model(name_or_path)
        assert read_weights(found)["weight"].tolist() == [0, 1, 2, 3, 4, 5]
    assert store.find_model("tiny").path == imported.path


def test_an_imported_model_is_replaced_only_when_asked(a_bundle, tmp_path):
    store.import_model(a_bundle.path)
    newer = make_bundle(tmp_path / "newer", version="2.0.0")
    with pytest.raises(OutputError):
        store.import_model(newer.path)
    assert store.import_model(newer.path, overwrite=True).manifest.version == "2.0.0"


@pytest.mark.parametrize("name", ["../outside", "a/b", ".hidden", "bundled-one"])
def test_a_name_that_is_taken_or_leads_outside_is_refused(a_bundle, resources, name):
    assert code_of(lambda: store.import_model(a_bundle.path, name=name)) == "model-name"


def test_a_damaged_bundle_is_not_imported(a_bundle):
    (a_bundle.path / "models/model.safetensors").write_bytes(b"")
    assert code_of(lambda: store.import_model(a_bundle.path)) == "bundle-checksum"
    assert not store.models_folder().exists()


def test_the_list_shows_own_bundled_and_available_models(a_bundle, resources):
    fill_catalogue(resources, name="remote", url="https://example.org/remote.zip", sha256="0" * 64)
    store.import_model(a_bundle.path)
    (store.models_folder() / ".misfm-unfinished").mkdir()
    (store.models_folder() / "broken").mkdir()
    entries = {entry.name: entry for entry in store.list_models()}
    origins = {name: entry.origin for name, entry in entries.items()}
    assert origins == {
        "broken": "mine",
        "tiny": "mine",
        "bundled-one": "bundled",
        "remote": "available",
    }
    assert entries["tiny"].title == "A tiny model"
    assert (entries["tiny"].kind, entries["tiny"].license) == ("segmentation", "CC-BY-4.0")
    assert "lacks configs/metadata.json" in entries["broken"].problem
    assert not entries["tiny"].problem


def test_an_installed_model_is_no_longer_available(a_bundle, resources):
    fill_catalogue(resources, name="tiny")
    store.import_model(a_bundle.path)
    assert [entry.origin for entry in store.list_models()] == ["mine", "bundled"]


def test_without_bundled_models_the_list_is_still_shown(resources):
    def raise_missing(name):
        raise FileNotFoundError(name)

    shutil.rmtree(resources / "Models")
    assert store.list_models() == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "resource_path", raise_missing)
        assert store.list_models() == []


def test_an_unknown_model_tells_what_is_installed_and_what_is_close(a_bundle, resources):
    store.import_model(a_bundle.path)
    with pytest.raises(BundleError, match=r"bundled-one, tiny.*Did you mean tiny\?") as caught:
        store.find_model("tinny")
    assert caught.value.code == "model-unknown"
    with pytest.raises(BundleError, match="installed are bundled-one, tiny") as caught:
        store.find_model("zzz")
    assert "Did you mean" not in str(caught.value)


def test_a_model_that_is_not_here_yet_tells_how_to_get_it(resources):
    fill_catalogue(resources, name="remote", url="https://example.org/r.zip", sha256="0" * 64)
    with pytest.raises(BundleError, match="misfm models fetch remote") as caught:
        store.find_model("remote")
    assert caught.value.code == "model-absent"


def test_an_own_model_goes_before_a_bundled_one_of_the_same_name(resources):
    make_bundle(store.models_folder() / "bundled-one", "bundled-one", version="9.0.0")
    assert store.find_model("bundled-one").manifest.version == "9.0.0"


def test_only_own_models_can_be_removed(a_bundle, resources):
    store.import_model(a_bundle.path)
    store.remove_model("tiny")
    assert not (store.models_folder() / "tiny").exists()
    for name in ("tiny", "bundled-one", "..", "."):
        assert code_of(lambda name=name: store.remove_model(name)) == "model-not-removable"
    assert store.find_model("bundled-one")


@pytest.mark.parametrize("is_damaged", [False, True])
def test_a_removed_model_takes_what_it_was_converted_to_with_it(a_bundle, resources, is_damaged):
    model = store.import_model(a_bundle.path)
    converted = store.engines_folder(model.manifest.weights_sha256) / "fp32"
    of_another = store.engines_folder("another") / "fp32"
    for folder in (converted, of_another):
        folder.mkdir(parents=True)
    if is_damaged:
        (model.path / "configs" / "metadata.json").write_text("{", "utf-8")
    store.remove_model("tiny")
    assert not (store.models_folder() / "tiny").exists()
    assert converted.exists() == is_damaged
    assert of_another.exists()


def test_export_and_import_carry_a_model_to_another_machine(a_bundle, tmp_path, monkeypatch):
    store.import_model(a_bundle.path)
    path = store.export_model("tiny", tmp_path / "usb" / "tiny.zip")
    with pytest.raises(OutputError):
        store.export_model("tiny", path)
    store.export_model("tiny", path, overwrite=True)
    monkeypatch.setenv("MISFM_HOME", str(tmp_path / "other machine"))
    assert store.import_model(path).manifest == a_bundle.manifest
    for name in bundle_files.list_files(a_bundle.path):
        copy = store.models_folder() / "tiny" / name
        assert copy.read_bytes() == (a_bundle.path / name).read_bytes()


def test_verify_finds_damage_after_installation(a_bundle):
    store.import_model(a_bundle.path)
    assert store.verify_model("tiny").manifest == a_bundle.manifest
    path = store.models_folder() / "tiny" / "models" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert code_of(lambda: store.verify_model("tiny")) == "bundle-checksum"


# ----------------------------------------------------------------------------------- the catalogue

CATALOGUE_SCHEMA = {
    "type": "object",
    "required": ["format", "models"],
    "additionalProperties": False,
    "properties": {
        "format": {"const": 1},
        "models": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name", "kind", "title", "description", "license", "paper"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$"},
                    "kind": {"enum": ["bundled", "bundle", "checkpoint"]},
                    "title": {"type": "string", "minLength": 10, "maxLength": 80},
                    "description": {"type": "string", "minLength": 20},
                    "license": {"type": "string", "minLength": 3},
                    "paper": {"type": "string", "minLength": 10},
                    "page": {"type": "string", "pattern": "^https://"},
                    "file": {"type": "string"},
                    "url": {"type": "string", "pattern": "^https://"},
                    "size_bytes": {"type": "integer", "minimum": 1},
                    "sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                },
                "allOf": [
                    {
                        "if": {"properties": {"kind": {"const": "bundle"}}},
                        "then": {"required": ["url", "sha256"]},
                    },
                    {
                        "if": {"properties": {"kind": {"const": "checkpoint"}}},
                        "then": {
                            "required": ["page", "file"],
                            "properties": {"file": {"pattern": "\\.pt$"}, "url": False},
                        },
                    },
                ],
            },
        },
    },
}


def test_the_catalogue_fulfils_its_schema():
    jsonschema = pytest.importorskip("jsonschema")
    content = json.loads(catalogue.resource_path("catalogue.json").read_text("utf-8"))
    jsonschema.validate(content, CATALOGUE_SCHEMA)
    names = [entry.name for entry in catalogue.read_catalogue()]
    assert len(set(names)) == len(names) > len(content["models"])


def test_the_catalogue_names_every_bundled_model_and_the_published_weights():
    entries = {entry.name: entry.kind for entry in catalogue.read_catalogue()}
    assert {name for name, kind in entries.items() if kind == "checkpoint"} == {
        "pctnet_ct10k_volf",
        "fmunet_abk1k_volf",
        "pctnet_pretrain",
    }
    bundled = {entry.name for entry in store.list_models() if entry.origin == "bundled"}
    assert bundled <= {name for name, kind in entries.items() if kind == "bundled"}


def test_weights_behind_a_file_sharing_page_are_fetched_by_hand_and_imported():
    with pytest.raises(BundleError, match=r"drive\.google\.com.*misfm models import") as caught:
        store.fetch_model("pctnet_ct10k_volf")
    assert caught.value.code == "manual-download"
    with pytest.raises(BundleError, match="in a browser"):
        store.find_model("pctnet_ct10k_volf")


# ---------------------------------------------------------------------------------------- download


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.content` with ranges; `server.troubles` makes one request each go wrong."""

    def do_GET(self):
        server = self.server
        server.ranges.append(self.headers.get("Range"))
        trouble = server.troubles.pop(0) if server.troubles else None
        if isinstance(trouble, int):
            self.send_error(trouble)
            return
        if trouble == "silence":
            self.connection.close()
            return
        start = 0
        if self.headers.get("Range") and server.has_ranges:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if start >= len(server.content):
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if server.tells_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if trouble in ("cut", "reset") else body)
        if trouble == "reset":
            self.wfile.flush()
            time.sleep(0.05)  # or the reset would overtake what was sent
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content = np.random.default_rng(1).bytes(700_001)
    server.has_ranges = server.tells_length = True
    server.troubles, server.ranges = [], []
    server.url = f"http://127.0.0.1:{server.server_port}/model.zip"
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def fetch(server, tmp_path):
    """Download from the server to a file; return the file."""

    def run(events=ignore_events, sha256=None, pauses=None):
        sha256 = sha256 or hashlib.sha256(server.content).hexdigest()
        target = tmp_path / "downloads" / "model.zip"
        pause = [].append if pauses is None else pauses.append
        download.download(download.Source(server.url, sha256), target, events, pause=pause)
        return target

    return run


@pytest.fixture
def part(tmp_path):
    (tmp_path / "downloads").mkdir()
    return tmp_path / "downloads" / "model.zip.part"


def test_a_download_arrives_whole_and_tells_its_progress(server, fetch):
    events = []
    assert fetch(events.append).read_bytes() == server.content
    assert all(isinstance(event, Progress) and event.stage == "download" for event in events)
    assert events[-1].fraction == 1.0
    assert events[-1].eta_s == 0.0
    assert server.ranges == [None]


@pytest.mark.parametrize("trouble", ["cut", "reset"])
def test_after_a_cut_only_the_rest_is_asked_for(server, fetch, trouble):
    server.troubles = [trouble]
    pauses = []
    assert fetch(pauses=pauses).read_bytes() == server.content
    first, second = server.ranges
    assert first is None
    assert 0 < int(second.removeprefix("bytes=").removesuffix("-")) <= 350_000
    assert pauses == [1.0]


def test_a_cancelled_download_goes_on_where_it_stopped(server, fetch, monkeypatch):
    def cancel(event):
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "_REPORT_EVERY_S", 0)
    with pytest.raises(KeyboardInterrupt):
        fetch(cancel)
    events = []
    target = fetch(events.append)
    assert target.read_bytes() == server.content
    kept = int(server.ranges[1].removeprefix("bytes=").removesuffix("-"))
    assert kept == download._BLOCK
    assert events[0].fraction > kept / len(server.content)
    assert list(target.parent.iterdir()) == [target]


def test_a_server_without_ranges_sends_everything_again(server, fetch, part):
    server.has_ranges = False
    part.write_bytes(server.content[:1000])
    assert fetch().read_bytes() == server.content
    assert server.ranges == ["bytes=1000-"]


def test_a_server_that_tells_no_length_works_without_progress(server, fetch):
    server.tells_length = False
    events = []
    assert fetch(events.append).read_bytes() == server.content
    assert events == []


def test_a_part_that_is_complete_needs_no_further_byte(server, fetch, part):
    part.write_bytes(server.content)
    assert fetch().read_bytes() == server.content
    assert server.ranges == [f"bytes={len(server.content)}-"]


@pytest.mark.parametrize("size", [1000, 800_000])
def test_a_kept_part_of_another_file_is_thrown_away(server, fetch, part, size):
    part.write_bytes(bytes(size))
    assert fetch().read_bytes() == server.content


def test_a_wrong_checksum_is_an_error_and_leaves_nothing(server, fetch, tmp_path):
    assert code_of(lambda: fetch(sha256="0" * 64)) == "download-checksum"
    assert list((tmp_path / "downloads").iterdir()) == []


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_not_tried_again(server, fetch, status):
    server.troubles = [status] * 9
    assert code_of(fetch) == "download-refused"
    assert len(server.ranges) == 1


@pytest.mark.parametrize("trouble", [503, 429, "silence"])
def test_passing_troubles_are_tried_again_with_longer_pauses(server, fetch, trouble):
    server.troubles = [trouble] * (download.ATTEMPTS - 1)
    pauses = []
    assert fetch(pauses=pauses).read_bytes() == server.content
    assert pauses == [1.0, 2.0, 4.0, 8.0]


def test_a_server_that_never_answers_well_ends_in_an_error(server, fetch):
    server.troubles = [500] * 9
    assert code_of(fetch) == "download-unreachable"
    assert len(server.ranges) == download.ATTEMPTS


def test_an_unreachable_server_names_proxy_and_offline_import(server, tmp_path):
    server.shutdown()
    server.server_close()
    source = download.Source(server.url, "0" * 64)
    with pytest.raises(BundleError, match=r"HTTPS_PROXY.*misfm models import") as caught:
        download.download(source, tmp_path / "x.zip", ignore_events, pause=[].append)
    assert caught.value.code == "download-unreachable"


def test_a_proxy_of_the_environment_is_used(server, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{server.server_port}")
    source = download.Source(
        "http://models.invalid/x.zip", hashlib.sha256(server.content).hexdigest()
    )
    download.download(source, tmp_path / "x.zip", ignore_events)
    assert (tmp_path / "x.zip").read_bytes() == server.content


def test_a_file_that_does_not_fit_on_the_disk_is_refused_before_it_is_loaded(
    fetch, part, monkeypatch
):
    usage = shutil.disk_usage(part.parent)._replace(free=1000)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: usage)
    with pytest.raises(OutputError) as caught:
        fetch()
    assert caught.value.code == "disk-full"
    assert not part.exists()


def test_a_place_that_cannot_be_written_is_told(fetch, tmp_path):
    (tmp_path / "downloads").write_text("a file where a folder is needed", "utf-8")
    with pytest.raises(OutputError) as caught:
        fetch()
    assert caught.value.code == "output-not-writable"


def test_a_fetched_model_is_checked_and_installed(server, resources, a_bundle, tmp_path):
    server.content = zip_bundle(a_bundle, tmp_path / "tiny.zip").read_bytes()
    sha256 = hashlib.sha256(server.content).hexdigest()
    fill_catalogue(resources, name="remote", url=server.url, sha256=sha256)
    fetched = store.fetch_model("remote")
    assert fetched.path == store.models_folder() / "remote"
    assert fetched.manifest == a_bundle.manifest
    assert list((store.home() / "downloads").iterdir()) == []
    events = []
    assert store.fetch_model("remote", events.append).path == fetched.path
    assert [type(event) for event in events] == [Notice]
    assert len(server.ranges) == 1


def test_a_fetched_file_that_is_no_bundle_is_not_installed_or_kept(server, resources):
    sha256 = hashlib.sha256(server.content).hexdigest()
    fill_catalogue(resources, name="remote", url=server.url, sha256=sha256)
    assert code_of(lambda: store.fetch_model("remote")) == "not-a-bundle"
    assert list((store.home() / "downloads").iterdir()) == []
    assert "remote" not in {e.name for e in store.list_models() if e.origin == "mine"}


def test_what_the_catalogue_does_not_know_cannot_be_fetched(resources):
    fill_catalogue(resources, name="remote")
    with pytest.raises(BundleError, match="it has remote") as caught:
        store.fetch_model("else")
    assert caught.value.code == "model-unknown"


def test_catalogue_entries_may_leave_size_and_checksum_open():
    entry = CatalogueEntry(name="n", kind="checkpoint", title="t", description="d", license="l")
    assert entry.size_bytes is None
    assert entry.sha256 is None


@pytest.mark.parametrize(
    ("platform", "variable", "folder"),
    [
        ("linux", "XDG_DATA_HOME", "chosen/MISFM"),
        ("linux", "", "home/.local/share/MISFM"),
        ("darwin", "", "home/Library/Application Support/MISFM"),
        ("win32", "LOCALAPPDATA", "chosen/MISFM"),
        ("win32", "", "home/AppData/Local/MISFM"),
    ],
)
def test_own_models_lie_where_the_platform_keeps_data(
    monkeypatch, tmp_path, platform, variable, folder
):
    for name in ("MISFM_HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv(variable, str(tmp_path / "chosen"))
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert store.home() == tmp_path / folder
