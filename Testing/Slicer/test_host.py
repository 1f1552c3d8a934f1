"""The host itself: what it refuses, what it reports, what it draws."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.standin_only("about the stand-in itself")
_RUN = Path(__file__).parents[1] / "Host" / "run.py"


def _raise(*_arguments):
    raise ValueError("expected")


def _run_script(tmp_path, text, *options):
    script = tmp_path / "script.py"
    script.write_text(text)
    command = [sys.executable, str(_RUN), *options, f"--home={tmp_path}"]
    command += ["--python-script", str(script), "--", "--model", "m", "a b"]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)


def test_an_exception_in_a_slot_is_kept(host):
    import qt

    button = qt.QPushButton()
    button.connect("clicked()", _raise)
    button.click()
    assert "ValueError: expected" in host.failures.take()[0]


def test_an_exception_in_a_timer_is_kept(host):
    import qt

    qt.QTimer.singleShot(0, _raise)
    host.process_events(0.01)
    assert "ValueError: expected" in host.failures.take()[0]


def test_an_exception_in_an_observer_is_kept(host):
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode")
    node.AddObserver("ModifiedEvent", _raise)
    node.Modified()
    assert "ValueError: expected" in host.failures.take()[0]


def test_an_exception_in_an_overridden_method_is_kept(host):
    import qt

    class Widget(qt.QWidget):
        def mousePressEvent(self, event):
            raise ValueError("expected")

    widget = Widget()
    qt.QTest.mouseClick(widget, qt.Qt.LeftButton)
    assert "ValueError: expected" in host.failures.take()[0]


_FAILING_TESTS = """
def test_slot(host):
    import qt
    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()

def test_dialog(host):
    import slicer
    try:
        slicer.util.confirmYesNoDisplay("Really?")
    except Exception:
        pass

def test_answer(host):
    host.dialogs.answer("Yes")

def test_good(host):
    pass
"""


def test_swallowed_errors_and_unanswered_dialogs_fail_a_test(tmp_path):
    (tmp_path / "test_it.py").write_text(_FAILING_TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "conftest", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    run = subprocess.run(
        [*command, f"--rootdir={tmp_path}", "test_it.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert "3 failed, 1 passed" in run.stdout, run.stdout + run.stderr
    for text in ("ZeroDivisionError", "asks: Really?", "no dialog asked for"):
        assert text in run.stdout


def test_dialogs_take_scripted_answers(host):
    import qt
    import slicer

    host.dialogs.answer("Yes", "No", "/tmp/a.nii.gz")
    assert slicer.util.confirmYesNoDisplay("Really?")
    assert not slicer.util.confirmYesNoDisplay("Really?")
    assert qt.QFileDialog.getOpenFileName(None, "Open", "") == "/tmp/a.nii.gz"
    assert [shown.text for shown in host.dialogs.shown][:2] == ["Really?", "Really?"]


def test_an_answer_may_look_at_the_dialog(host):
    import qt

    dialog = qt.QDialog()
    dialog.windowTitle = "Names"
    host.dialogs.answer(lambda shown: shown.windowTitle == "Names")
    assert dialog.exec_() == qt.QDialog.Accepted


def test_testing_mode_opens_no_dialog(host):
    import slicer

    with host.testing():
        slicer.util.errorDisplay("e")
        slicer.util.confirmYesNoDisplay("q")
    assert host.dialogs.shown == []


def test_without_a_main_window_there_are_no_views(host):
    import slicer

    with host.headless():
        assert slicer.util.mainWindow() is None
        assert slicer.app.layoutManager() is None
        assert slicer.app.commandOptions().noMainWindow
        slicer.util.errorDisplay("only logged")
    assert slicer.util.mainWindow() is not None


@pytest.mark.parametrize("name", ["loadVolume", "getNode", "errorDisplay", "moduleNames", "me"])
def test_names_that_the_wheel_leaks_are_gone(host, name):
    import slicer

    assert callable(getattr(slicer.util, name, callable))
    assert not callable(getattr(slicer, name, None))


def test_unknown_names_are_refused(host):
    import ctk
    import qt
    import slicer

    for module, name in ((qt, "QNoSuchWidget"), (ctk, "ctkNoSuch"), (slicer, "qMRMLNoSuch")):
        with pytest.raises(AttributeError):
            getattr(module, name)


def test_keyword_arguments_and_new_attributes_are_refused(host):
    import qt

    with pytest.raises(ValueError, match="keyword arguments"):
        qt.QLabel(text="x")
    label = qt.QLabel("x")
    with pytest.raises(ValueError, match="keyword arguments"):
        label.setText(text="x")
    with pytest.raises(AttributeError, match="creating new attributes"):
        label.enable = False


def test_arguments_are_converted_as_laxly_as_in_slicer(host):
    import qt

    spin, combo = qt.QSpinBox(), qt.QComboBox()
    spin.setValue(qt.Qt.AlignTop)
    assert spin.value == int(qt.Qt.AlignTop)
    spin.setValue(3.9)
    assert spin.value == 3
    combo.addItems((1, Path("a")))
    assert [combo.itemText(i) for i in range(combo.count)] == ["1", "a"]
    with pytest.raises(ValueError, match="wrong arguments"):
        spin.setValue("x")


def test_a_timer_that_nothing_references_is_destroyed(host):
    import qt

    ticks = []

    def start():
        timer = qt.QTimer()
        timer.connect("timeout()", lambda: ticks.append(1))
        timer.start(1)

    start()
    host.process_events(0.05)
    assert ticks == []


def test_a_signal_can_be_connected_to_a_slot_by_name(host):
    import qt

    box, label = qt.QCheckBox(), qt.QLabel()
    assert box.connect("toggled(bool)", label, "setEnabled(bool)")
    box.toggled.connect(label.setVisible)
    box.setChecked(True)
    box.setChecked(False)
    assert not label.enabled


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('<widget class="qMRMLNoSuch" name="a"/>', "no widget qMRMLNoSuch"),
        ('<widget class="ctkPathLineEdit" name="a"><property name="filters">'
         "<set>ctkPathLineEdit::NoSuch</set></property></widget>", "no flag NoSuch"),
    ],
)  # fmt: skip
def test_a_ui_file_with_unknown_things_is_refused(host, tmp_path, body, message):
    import slicer

    path = tmp_path / "a.ui"
    path.write_text(f'<ui version="4.0"><class>A</class>{body}</ui>')
    with pytest.raises(RuntimeError, match=message):
        slicer.util.loadUI(str(path))


def test_an_unknown_property_in_a_ui_file_is_logged(host, tmp_path, caplog):
    import slicer

    path = tmp_path / "a.ui"
    path.write_text(
        '<ui version="4.0"><class>A</class><widget class="QLabel" name="a">'
        '<property name="txt"><string>x</string></property></widget></ui>'
    )
    slicer.util.loadUI(str(path))
    assert "QLabel has no property txt" in caplog.text


def test_a_module_is_entered_left_reloaded_and_shown(host, load_module, probe_module, screenshot):
    import slicer

    widget = load_module(probe_module)
    assert widget is slicer.modules.ProbeModWidget
    assert slicer.util.selectedModule() == "ProbeMod"
    slicer.util.reloadScriptedModule("ProbeMod")
    assert slicer.modules.ProbeModWidget is not widget
    slicer.util.selectModule("Volumes")
    slicer.util.selectModule("ProbeMod")
    host.process_events()
    assert slicer.modules.ProbeModWidget.ui.applyButton.visible
    slicer.selfTests["ProbeMod"]()
    assert screenshot("probe").stat().st_size > 5000


def test_the_node_selector_follows_the_scene(host, load_module, probe_module, make_volume):
    import slicer

    selector = load_module(probe_module).ui.inputSelector
    nodes = []
    selector.currentNodeChanged.connect(nodes.append)
    volume = make_volume()
    assert selector.nodeCount() == 1
    assert selector.currentNode() is None
    selector.setCurrentNode(volume)
    slicer.mrmlScene.RemoveNode(volume)
    assert nodes == [volume, None]
    selector.noneEnabled = False
    second = make_volume(name="second")
    assert selector.currentNode() is second
    slicer.mrmlScene.Clear(False)
    assert selector.currentNode() is None
    selector.noneEnabled = True


def _brightest_point_ras(volume):
    import slicer
    import vtk

    array = slicer.util.arrayFromVolume(volume)
    k, j, i = np.unravel_index(array.argmax(), array.shape)
    matrix = vtk.vtkMatrix4x4()
    volume.GetIJKToRASMatrix(matrix)
    return slicer.util.arrayFromVTKMatrix(matrix) @ [i, j, k, 1]


@pytest.mark.parametrize("ending", ["nii.gz", "nrrd"])
@pytest.mark.parametrize("direction", ["axial", "left-handed", "oblique"])
def test_voxels_stay_where_they_are_through_a_file(host, make_volume, tmp_path, direction, ending):
    import slicer

    volume = make_volume(direction)
    path = str(tmp_path / f"ü ber 体积.{ending}")
    assert slicer.util.saveNode(volume, path, {})
    loaded = slicer.util.loadVolume(path, {})
    assert np.allclose(_brightest_point_ras(loaded), _brightest_point_ras(volume), atol=1e-4)


def test_views_show_a_volume_and_its_segmentation(host, make_volume, screenshot):
    import slicer
    from PySide6 import QtGui

    volume = make_volume()
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmentation.CreateDefaultDisplayNodes()
    segmentation.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = segmentation.GetSegmentation().AddEmptySegment("ball", "ball", (1, 0, 0))
    mask = (slicer.util.arrayFromVolume(volume) > 0).astype(np.uint8)
    slicer.util.updateSegmentBinaryLabelmapFromArray(mask, segmentation, segment, volume)
    segmentation.CreateClosedSurfaceRepresentation()
    slicer.util.resetThreeDViews()
    picture = QtGui.QImage(str(screenshot("views")))
    manager = slicer.app.layoutManager()
    for view in (manager.sliceWidget("Red").sliceView(), manager.threeDWidget(0).threeDView()):
        raw = view._raw
        centre = raw.mapTo(host.window, raw.rect().center())
        colour = picture.pixelColor(centre)
        assert colour.red() > colour.blue() + 20, (view, colour.name())


def test_nodes_appear_in_the_subject_hierarchy(host, make_volume):
    import slicer

    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    volume = make_volume()
    item = hierarchy.GetItemByDataNode(volume)
    assert hierarchy.GetItemName(item) == "volume"
    slicer.mrmlScene.RemoveNode(volume)
    assert not hierarchy.GetItemByDataNode(volume)


def test_a_scene_is_saved_and_loaded(host, make_volume, tmp_path):
    import slicer

    make_volume("oblique")
    path = str(tmp_path / "scene.mrb")
    assert slicer.util.saveScene(path, {})
    slicer.mrmlScene.Clear(False)
    slicer.util.loadScene(path, {"clear": True})
    assert slicer.util.getNode("volume").GetImageData().GetDimensions() == (20, 16, 12)


def test_layouts_change_what_is_shown(host):
    import slicer

    manager, layouts = slicer.app.layoutManager(), slicer.vtkMRMLLayoutNode
    manager.setLayout(layouts.SlicerLayoutOneUpRedSliceView)
    assert manager.threeDViewCount == 0
    manager.setLayout(layouts.SlicerLayoutFourUpView)
    assert manager.threeDViewCount == 1


def test_python_slicer_runs_python(host):
    with host.python_slicer() as launcher:
        run = subprocess.run([launcher, "-c", "print(6 * 7)"], capture_output=True, text=True)
    assert run.stdout == "42\n"


def test_a_script_gets_its_arguments_and_gives_its_exit_code(tmp_path):
    text = "import slicer, sys\nprint(sys.argv[1:])\nslicer.util.exit(7)\n"
    run = _run_script(tmp_path, text, "--no-main-window")
    assert "['--model', 'm', 'a b']" in run.stdout
    assert run.returncode == 7


@pytest.mark.parametrize(("text", "code"), [("1 / 0", 1), ("pass", 0), ("raise SystemExit(4)", 4)])
def test_testing_mode_ends_a_script(tmp_path, text, code):
    assert _run_script(tmp_path, text, "--testing", "--no-main-window").returncode == code


def test_the_command_line_writes_a_screenshot(tmp_path, probe_module):
    picture = tmp_path / "panel.png"
    command = [sys.executable, str(_RUN), str(probe_module), "--screenshot", str(picture)]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    assert (
        subprocess.run([*command, "--size=800x600"], env=environment, timeout=120).returncode == 0
    )
    assert picture.stat().st_size > 5000
    run = subprocess.run([*command, "--volume=/no/such"], env=environment, timeout=120)
    assert run.returncode == 1


def test_leaving_calls_exit_then_cleanup(tmp_path):
    (tmp_path / "Mod.py").write_text(
        "from slicer.ScriptedLoadableModule import *\n"
        "class Mod(ScriptedLoadableModule): pass\n"
        "class ModWidget(ScriptedLoadableModuleWidget):\n"
        "    def enter(self): print('enter')\n"
        "    def exit(self): print('exit')\n"
        "    def cleanup(self): print('cleanup')\n"
    )
    text = (
        "import slicer\n"
        "slicer.app.connect('aboutToQuit()', lambda: print('about to quit'))\n"
        "slicer.util.selectModule('Mod')\n"
        "slicer.util.exit(0)\n"
    )
    run = _run_script(tmp_path, text, str(tmp_path / "Mod.py"))
    assert run.stdout.split("\n")[:4] == ["enter", "exit", "cleanup", "about to quit"], run.stderr


def test_translations_are_looked_up_in_the_context_of_the_file(host, tmp_path):
    from PySide6 import QtCore
    from slicer.i18n import getContext, tr

    class Translator(QtCore.QTranslator):
        def isEmpty(self):
            return False

        def translate(self, context, text, *_):
            return f"{context}:{text}"

    translator = Translator()
    QtCore.QCoreApplication.installTranslator(translator)
    assert tr("Segment") == f"{Path(__file__).stem}:Segment"
    QtCore.QCoreApplication.removeTranslator(translator)
    (tmp_path / "__init__.py").touch()
    assert getContext(str(tmp_path / "Widget.py")) == f"{tmp_path.name}.Widget"


# ------------------------------------------------------------------------------------------ inside


def _imports(path, package):
    """Return the modules of a package that one of them imports, also inside of functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 1:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found.update(name for name in names if (package / f"{name}.py").exists())
    return found


def test_the_proxies_import_each_other_in_no_circle():
    package = _RUN.parent / "misfm_host" / "pythonqt"
    waiting = {path.stem: _imports(path, package) for path in package.glob("*.py")}
    while free := [name for name, needs in waiting.items() if not needs & waiting.keys()]:
        for name in free:
            del waiting[name]
    assert waiting == {}


def test_what_is_to_be_deleted_later_outlives_nested_loops(host):
    """Real Slicer deletes only when control returns to its main loop, as the host's does here."""
    import qt
    import slicer

    label = qt.QLabel("x")
    label.deleteLater()
    slicer.app.processEvents()
    assert label.text == "x"
    host.process_events()
    with pytest.raises(ValueError, match="destroyed"):
        _ = label.text
