"""The Chinese catalogue has every text of the module, and the panel uses it.

After a change of texts edit MISFM_zh-CN.ts (by hand or with Qt Linguist) and compile it with
``pyside6-lrelease MISFM_zh-CN.ts -qm MISFM_zh-CN.qm``.
"""

import ast
import re
import xml.etree.ElementTree as ET

import pytest
from panel_fixtures import MODULE

from MISFMLib.events import Failed

FOLDER = MODULE.parent / "Resources" / "Translations"
CATALOGUE = FOLDER / "MISFM_zh-CN.ts"


def texts_in_code(path):
    """Yield context and text of every ``_("...")``, as Slicer's `tr` looks them up."""
    is_in_package = (path.parent / "__init__.py").exists()
    context = f"{path.parent.name}.{path.stem}" if is_in_package else path.stem
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "_":
            (text,) = node.args
            assert isinstance(text, ast.Constant), f"{path.name}:{node.lineno} is no plain text"
            yield context, text.value


def texts_in_ui(path):
    """Yield context and text of every translatable string."""
    root = ET.parse(path).getroot()
    fixed = [text for strings in root.iter("stringlist") for text in strings]
    for element in root.iter("string"):
        if element not in fixed and element.text:
            yield root.findtext("class"), element.text


def texts():
    found = set()
    for path in MODULE.parent.rglob("*.py"):
        found.update(texts_in_code(path))
    for path in MODULE.parent.rglob("*.ui"):
        found.update(texts_in_ui(path))
    return found


def catalogue():
    """Return the translation of every context and text."""
    return {
        (context.findtext("name"), message.findtext("source")): message.findtext("translation")
        for context in ET.parse(CATALOGUE).getroot().iter("context")
        for message in context.iter("message")
    }


def test_the_catalogue_has_every_text_and_no_other():
    assert catalogue().keys() == texts()


def test_every_text_is_translated_with_the_same_placeholders():
    for (_context, text), translation in catalogue().items():
        assert translation, text
        assert sorted(re.findall(r"{\w+}", text)) == sorted(re.findall(r"{\w+}", translation)), text


def test_the_compiled_catalogue_is_that_of_the_source(host):
    import qt

    translator = qt.QTranslator()
    assert translator.load(str(CATALOGUE.with_suffix(".qm")))
    for (context, text), translation in catalogue().items():
        assert translator.translate(context, text) == translation


@pytest.fixture
def chinese(host):
    """Slicer in Chinese."""
    with host.language("zh_CN", CATALOGUE.with_suffix(".qm")):
        yield


def test_the_panel_speaks_chinese(chinese, panel, make_volume):
    make_volume()
    panel.settle()
    assert panel.ui.segmentButton.text == "分割"
    assert panel.ui.optionsSection.text == "选项"
    assert panel.ui.statusLabel.text == "就绪。所需时间稍后显示。"
    panel.segment()
    assert "已分割" in panel.ui.resultLabel.text
    assert panel.widget.parent.minimumSizeHint.width() <= 400


def test_what_the_library_says_is_chinese_too(chinese, panel, make_volume):
    make_volume()
    panel.settle()
    panel.runner.events = [
        Failed(
            "cuda:0 does not compute: no kernel image.",
            code="device-broken",
            remedy="Use --device cpu; `misfm doctor` says what can be done.",
        )
    ]
    panel.segment()
    assert panel.ui.failureLabel.text.startswith("cuda:0 无法计算")
    assert "no kernel image" in panel.ui.failureLabel.text
    assert panel.ui.remedyLabel.text == "请在“选项”中选择 CPU。"
