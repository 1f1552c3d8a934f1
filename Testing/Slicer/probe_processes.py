"""Questions about processes, timers and settings (see probe.py)."""

import sys

import qt
import slicer

_SHELL = 'echo hello "$PROBE"; echo 0; exit 3'


def ask(fact, ui):
    _ask_process(fact)
    _ask_other_processes(fact)
    _ask_timer(fact)
    _ask_settings(fact)
    for name in ("pn.thr", "pn.thr=20", "pn.inputVolume=n", "pn.path type"):
        fact.not_asked(name)


def _ask_process(fact):
    p = qt.QProcess()
    fact("p.state()", lambda: p.state())
    fact("p.state", lambda: p.state)
    fact("p.processChannelMode", lambda: p.processChannelMode())
    fact("p.setProcessChannelMode", lambda: p.setProcessChannelMode(qt.QProcess.MergedChannels))
    env = qt.QProcessEnvironment.systemEnvironment()
    fact("env", lambda: env)
    fact("env.insert", lambda: env.insert("PROBE", "é1"))
    fact("env.value", lambda: env.value("PROBE"))
    fact("env.contains", lambda: env.contains("PROBE"))
    fact("env.remove", lambda: env.remove("NO_SUCH_NAME"))
    fact("p.setProcessEnvironment", lambda: p.setProcessEnvironment(env))
    fact("p.setWorkingDirectory", lambda: p.setWorkingDirectory("/tmp"))
    out, ends = [], []
    read = lambda: out.append(p.readAllStandardOutput())  # noqa: E731
    fact("connect readyReadStandardOutput()", lambda: p.connect("readyReadStandardOutput()", read))
    fact("p.finished.connect", lambda: p.finished.connect(lambda *a: ends.append(a)))
    text = "finished(int,QProcess::ExitStatus)"
    fact(f"connect {text}", lambda: p.connect(text, lambda *a: ends.append(a)))
    fact("p.errorOccurred.connect", lambda: p.errorOccurred.connect(lambda *a: None))
    fact("p.start", lambda: p.start("/bin/sh", ["-c", _SHELL]))
    fact("p.waitForStarted(3000)", lambda: p.waitForStarted(3000))
    fact("state()", lambda: p.state())
    fact("state()==Running", lambda: p.state() == qt.QProcess.Running)
    fact("p.processId()", lambda: p.processId())
    fact("p.pid()", lambda: p.pid())
    fact("waitForFinished", lambda: p.waitForFinished(5000))
    assert ends == [(3,), (3, 0)], ends
    text = b"".join(part.data() for part in out)
    fact("out[0].data()", lambda: text)
    fact("bytes(out)", lambda: bytes(out[0]))
    fact("str(out)", lambda: str(qt.QByteArray(text)))
    fact("QTextCodec decode", lambda: qt.QTextCodec.codecForName("UTF-8").toUnicode(text))
    fact("p.exitCode()", lambda: p.exitCode())
    fact("p.exitStatus()", lambda: p.exitStatus())
    fact("p.error()", lambda: p.error())
    fact("p.errorString()", lambda: p.errorString())


def _ask_other_processes(fact):
    p2 = qt.QProcess()
    fact("start nonexisting", lambda: p2.start("/no/such/program", []))
    fact("waitForStarted", lambda: p2.waitForStarted(1000))
    fact("p2.error()==FailedToStart", lambda: p2.error() == qt.QProcess.FailedToStart)
    p3 = qt.QProcess()
    p3.start("/bin/sh", ["-c", "echo e >&2; cat"])
    p3.waitForStarted(3000)
    fact("p3.write(str)", lambda: p3.write("abc\n"))
    fact("p3.write(bytes)", lambda: p3.write(b"abc\n"))
    fact("p3.write(QByteArray)", lambda: p3.write(qt.QByteArray(b"z\n")))
    fact("closeWriteChannel", lambda: p3.closeWriteChannel())
    p3.waitForFinished(3000)
    fact("readAllStandardError", lambda: p3.readAllStandardError().data())
    fact("readAll", lambda: p3.readAll().data())
    p4 = qt.QProcess()
    p4.start("/bin/sleep", ["30"])
    p4.waitForStarted(3000)
    fact("p4.kill()", lambda: p4.kill())
    fact("wait", lambda: p4.waitForFinished(3000))
    fact("p4.exitStatus()==CrashExit", lambda: p4.exitStatus() == qt.QProcess.CrashExit)
    fact("p4.exitCode()", lambda: p4.exitCode())


def _ask_timer(fact):
    tm = qt.QTimer()
    fact("setInterval", lambda: tm.setInterval(10))
    fact("tm.interval", lambda: tm.interval)
    fact("tm.active", lambda: tm.active)
    fact("tm.isActive()", lambda: tm.isActive())
    fact("tm.setSingleShot", lambda: tm.setSingleShot(True))
    fact("tm.timeout.connect", lambda: tm.timeout.connect(lambda: None))
    fact("tm.connect('timeout()')", lambda: tm.connect("timeout()", lambda: None))
    fact("start", lambda: tm.start())
    fact("qt.QTimer.singleShot(0, cb)", lambda: qt.QTimer.singleShot(0, lambda: None))
    slicer.app.processEvents()


def _ask_settings(fact):
    s = qt.QSettings()
    fact("s.setValue", lambda: s.setValue("probe/b", True))
    fact("s.value", lambda: s.value("probe/b"))
    fact("s.value def", lambda: s.value("probe/none", "d"))
    fact("s.value None", lambda: s.value("probe/none"))
    fact("toBool", lambda: slicer.util.toBool(s.value("probe/b")))
    fact("s.setValue int", lambda: (s.setValue("probe/i", 5), s.value("probe/i"))[1])
    fact("s.contains", lambda: s.contains("probe/i"))
    fact("s.fileName()", lambda: s.fileName())
    fact("list", lambda: (s.setValue("probe/l", ["a", "b"]), s.value("probe/l"))[1])
    fact("list1", lambda: (s.setValue("probe/l1", ["a"]), s.value("probe/l1"))[1])
    fact("qt.QSettings()", lambda: qt.QSettings().fileName())
    fact("dict", lambda: (s.setValue("probe/d", {"a": [1, 2]}), s.value("probe/d"))[1])
    s.remove("probe")


def ask_again(fact, folder):
    """Ask about subclasses, other ways to start, and settings that were read again."""

    class P(qt.QProcess):
        pass

    fact("QProcess subclass", lambda: P())
    p = qt.QProcess()
    fact("start(cmdline single string)", lambda: p.start("echo a b"))
    fact("wait", lambda: p.waitForFinished(3000))
    fact("out", lambda: p.readAllStandardOutput().data())
    p = qt.QProcess()
    fact("setProgram", lambda: p.setProgram("/bin/echo"))
    fact("setArguments", lambda: p.setArguments(["a"]))
    fact("start()", lambda: p.start())
    p.waitForFinished(3000)
    from pathlib import Path

    for name, arguments in (
        ("start(Path obj)", (Path("/bin/echo"), ["a"])),
        ("start args ints", ("/bin/echo", [1, 2])),
        ("args tuple", ("/bin/echo", ("a", "b"))),
    ):
        other = qt.QProcess()
        fact(name, lambda other=other, arguments=arguments: other.start(*arguments))
        other.waitForFinished(3000)
    p = qt.QProcess()
    p.start("/bin/sleep", ["30"])
    p.waitForStarted(3000)
    fact("terminate()", lambda: p.terminate())
    fact("wait", lambda: p.waitForFinished(3000))
    fact("exitStatus", lambda: (int(p.exitStatus()), p.exitCode()))
    fact("QProcess.canReadLine", lambda: p.canReadLine())
    p = qt.QProcess()
    p.start("/bin/sh", ["-c", "echo l1; echo l2"])
    p.waitForFinished(3000)
    fact("readLine()", lambda: p.readLine())
    fact("readLine().data()", lambda: p.readLine().data())
    fact("QProcess.startDetached", lambda: qt.QProcess.startDetached("/bin/true", []))
    fact("QProcess.execute", lambda: qt.QProcess.execute("/bin/true", []))
    fact("QFileSystemWatcher", lambda: qt.QFileSystemWatcher().addPath(str(folder)))
    _ask_reread(fact, str(Path(folder) / "probe.ini"))


def _ask_reread(fact, path):
    first = qt.QSettings(path, qt.QSettings.IniFormat)
    values = {"b": True, "i": 5, "f": 1.5, "l": ["a"], "e": "", "el": [], "n": None}

    def write():
        for key, value in values.items():
            first.setValue(key, value)
        first.sync()

    fact("QSettings int key types after ini reread", write)
    s = qt.QSettings(path, qt.QSettings.IniFormat)
    for key in values:
        fact(f"reread {key}", lambda key=key: s.value(key))
    fact("s.value(k, default bool)", lambda: s.value("nothing", False))
    fact("allKeys", lambda: s.allKeys())
    fact("beginGroup", lambda: s.beginGroup("g"))
    revision = slicer.app.revisionUserSettings()
    fact("slicer.app.revisionUserSettings()", lambda: revision.fileName())
    same = lambda: slicer.app.userSettings().fileName() == qt.QSettings().fileName()  # noqa: E731
    fact("userSettings same file as QSettings()", same)


assert sys.platform != "win32", "these questions name programs of Unix"
