"""What the library says and how the panel says it: nothing is forgotten, nothing is outdated."""

import ast
import re

import pytest
from panel_fixtures import REPOSITORY

from MISFMLib.events import Failed, Notice

COVERED = (
    "MISFM/MISFMSlicer/Jobs/JobRunner.py",
    "MISFMLib/commands/failures.py",
    "MISFMLib/device.py",
    "MISFMLib/models/download.py",
    "MISFMLib/inference/one_model.py",
    "MISFMLib/inference/restoration.py",
    "MISFMLib/data/label_resampling.py",
)
"""Every message and remedy of these can reach the panel on the usual path."""
NOT_FOR_THE_PANEL = {
    "A job is running already.",  # an error of ours, not of the user
    "{} is no device.",  # the panel offers only what exists
    "Use auto, cpu, cuda, cuda:N or mps.",
    "PyTorch computes the network. {}",  # for who asked for another engine by name
    "A process died over it; trying {}.",  # the panel works on a batch in one process
    "The network is not computed in int8. {}",  # asked for only where there is such a version
}


@pytest.fixture(scope="session")
def wordings(running_host):
    from MISFMSlicer import LibraryMessages

    return LibraryMessages._wordings()


def template(node):
    """Return a text with {} for what varies; None for what is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        parts = (part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
        return "".join(parts)
    return None


def texts(path):
    """Return all texts in a file."""
    nodes = ast.walk(ast.parse(path.read_text("utf-8")))
    return {text for node in nodes if (text := template(node))}


def messages(path):
    """Return what a file tells the user: of errors, failures and notices."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            if name.endswith("Error") or name in ("Failed", "Notice", "notify"):
                keywords = (word for word in node.keywords if word.arg in ("message", "remedy"))
                arguments = [*node.args[:1], *(word.value for word in keywords)]
                found.update(filter(None, map(template, arguments)))
    return found


def nameless(text):
    return re.sub(r"{\w+}", "{}", text)


def test_the_library_still_says_what_the_panel_rewords(wordings):
    sources = [*REPOSITORY.glob("MISFMLib/**/*.py"), REPOSITORY / COVERED[0]]
    said = set().union(*map(texts, sources))
    assert [text for text in wordings if nameless(text) not in said] == []


@pytest.mark.parametrize("file", COVERED)
def test_every_message_of_the_usual_path_has_a_wording(wordings, file):
    known = {nameless(text) for text in wordings} | NOT_FOR_THE_PANEL
    assert messages(REPOSITORY / file) - known == set()


def test_a_wording_says_no_more_than_the_library_does(wordings):
    for text, wording in wordings.items():
        assert set(re.findall(r"{(\w+)}", wording)) <= set(re.findall(r"{(\w+)}", text))


def test_no_wording_speaks_of_the_command_line(wordings):
    allowed = "pip install"  # there is no other way
    speaking = [w for w in wordings.values() if re.search(r"`misfm|--\w", w) and allowed not in w]
    assert speaking == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Use --device cpu; `misfm doctor` says what can be done.", "Choose the CPU in Options."),
        ("/a/b.zip cannot be written: disk full.", "/a/b.zip cannot be written: disk full."),
        (
            "The memory of the device does not suffice; trying on the CPU.",
            "The memory of the device did not suffice; tried next: on the CPU.",
        ),
        ("{braces} exists already.", "{braces} exists already."),
        ("Something that nobody foresaw: {x}", "Something that nobody foresaw: {x}"),
        ("", ""),
    ],
)
def test_the_panel_says(host, text, expected):
    from MISFMSlicer.LibraryMessages import forPanel

    assert forPanel(text) == expected


def test_messages_name_the_volume_of_the_scene_and_what_to_do_there(panel, make_volume):
    """A user has never seen the files that the panel writes for the library."""
    from MISFMLib.volumes.formats.problems import not_finite, two_dimensional

    make_volume(name="My head")
    panel.settle()
    panel.runner.holds = True
    panel.start()
    for describe in (
        lambda _folder: not_finite("frame0000-0.nrrd"),
        lambda folder: not_finite(folder / "frame0000-0.nrrd"),
        lambda folder: two_dimensional(folder / "frame0000-0.nrrd", (4, 4, 1)),
    ):
        error = describe(panel.runner._folder)
        panel.runner.events = [Failed(error.message, code=error.code, remedy=error.remedy)]
        panel.runner.holds = False
        panel.host.wait_until(lambda: not panel.logic.jobs)
        panel.settle()
        assert panel.ui.failureLabel.text.startswith("My head ")
        assert "frame" not in panel.ui.failureLabel.text
        assert panel.ui.remedyLabel.text != error.remedy
        panel.runner.holds = True
        panel.start()
    panel.widget.segmentTab.cancel()


def test_a_notice_names_the_volume_too(panel, make_volume):
    make_volume(name="My head")
    panel.settle()
    panel.runner.holds = True
    panel.start()
    panel.runner._pending = [Notice("frame0000-0 is constant: every voxel is 3.")]
    panel.hear()
    panel.runner.holds = False
    panel.host.wait_until(lambda: not panel.logic.jobs)
    panel.settle()
    assert panel.ui.resultNoticeLabel.text == "My head is constant: every voxel is 3."


def test_what_volumes_can_be_refused_for_has_a_wording_and_a_remedy(wordings):
    """Of these files the panel's users see none, so that each remedy has to be one in Slicer."""
    said = messages(REPOSITORY / "MISFMLib/volumes/formats/problems.py")
    known = {nameless(text) for text in wordings}
    # The panel writes its files uncompressed, under plain names.
    of_files = ("compressed data", "name that is no text", "Rename the file")
    for_files = {text for text in said if any(words in text for words in of_files)}
    assert said - known - for_files == set()
