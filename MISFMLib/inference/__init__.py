"""From a network and a volume to a label map: windows, restoration, clean-up."""
