"""`SampleData`: data sets are registered here; the host downloads none."""

import slicer

_LISTS = ("uris", "fileNames", "nodeNames", "loadFiles", "loadFileTypes", "checksums")


class SampleDataSource:
    """A data set: one entry per file in each of its lists."""

    def __init__(
        self,
        sampleName=None,
        sampleDescription=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        checksums=None,
        loadFiles=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFileProperties=None,
    ):
        values = (uris, fileNames, nodeNames, loadFiles, loadFileTypes, checksums)
        lists = dict(zip(_LISTS, values, strict=True))
        if isinstance(uris, str):
            lists = {name: [value] for name, value in lists.items()}
        else:
            lists |= {name: lists[name] or [None] * len(uris) for name in _LISTS[2:]}
        if len({len(each) for each in lists.values()}) != 1:
            raise ValueError(f"All fields must have the same length: {lists}")
        vars(self).update(lists)
        self.sampleName = sampleName
        self.sampleDescription = sampleDescription or sampleName
        self.customDownloader = customDownloader
        self.thumbnailFileName = thumbnailFileName
        self.loadFileProperties = loadFileProperties or {}

    def __eq__(self, other):
        return str(vars(self)) == str(vars(other))

    __hash__ = None


class SampleDataLogic:
    """The registered data sets, by category, are in `slicer.modules.sampleDataSources`."""

    @staticmethod
    def registerCustomSampleDataSource(category="Custom", loadFileType=None, **fields):
        """Register a data set; one that is there already is not registered again."""
        unknown = set(fields) - {*_LISTS, "sampleName", "customDownloader", "thumbnailFileName"}
        if unknown - {"loadFileProperties"}:
            raise TypeError(f"unexpected keyword arguments: {sorted(unknown)}")
        fields.setdefault("loadFileTypes", loadFileType)
        source = SampleDataSource(**fields)
        if not hasattr(slicer.modules, "sampleDataSources"):
            slicer.modules.sampleDataSources = {}
        known = slicer.modules.sampleDataSources.setdefault(category, [])
        if source not in known:
            known.append(source)

    def sourceForSampleName(self, sampleName):
        """Return a registered data set, None for an unknown one."""
        categories = getattr(slicer.modules, "sampleDataSources", {}).values()
        sources = (source for category in categories for source in category)
        return next((source for source in sources if source.sampleName == sampleName), None)

    def downloadSamples(self, sampleName):
        """Refuse: real Slicer downloads here, also where a data set has a downloader of its own."""
        raise RuntimeError(f"The test host downloads nothing: {sampleName}")

    def downloadSample(self, sampleName):
        """Load the first volume of a data set."""
        return self.downloadSamples(sampleName)[0]


def downloadSample(sampleName):
    """Load the first volume of a data set."""
    return SampleDataLogic().downloadSample(sampleName)
