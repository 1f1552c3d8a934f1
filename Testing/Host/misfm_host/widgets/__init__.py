"""Stand-ins for the widgets of CTK and Slicer, as far as scripted modules use them.

They are ordinary PySide6 widgets. A public name here is a promise that the real class has it:
what is missing is refused, which is the point.
"""
