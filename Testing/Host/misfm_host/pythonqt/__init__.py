"""The rules of PythonQt over PySide6: what Slicer's `qt` and `ctk` modules allow, and nothing else.

Scripted modules see proxies made here. The widgets behind them are ordinary PySide6 objects, and
the rest of the host is written in ordinary PySide6.
"""
