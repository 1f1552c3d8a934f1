"""`SampleData`: data sets are registered here; only files of this computer are fetched."""

import hashlib
import urllib.request
from pathlib import Path

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
        """Load the volumes of a data set by its name."""
        return self.downloadFromSource(self.sourceForSampleName(sampleName))

    def downloadFromSource(self, source, maximumAttemptsCount=3, forceDownload=False):
        """Load the volumes of a data set; like real Slicer without its custom downloader.

        Raises:
            RuntimeError: It is not on this computer: the host downloads nothing.
        """
        nodes = []
        for uri, fileName, nodeName, checksum in zip(
            source.uris, source.fileNames, source.nodeNames, source.checksums, strict=True
        ):
            if not uri.startswith("file:"):
                raise RuntimeError(f"The test host downloads nothing: {uri}")
            copy = Path(slicer.mrmlScene.GetCacheManager().GetRemoteCacheDirectory()) / fileName
            if forceDownload or not _isIntact(copy, checksum):
                urllib.request.urlretrieve(uri, copy)
            if not _isIntact(copy, checksum):
                raise RuntimeError(f"{uri} has another checksum.")
            nodes.append(slicer.util.loadVolume(str(copy), {"name": nodeName}))
        return nodes

    def downloadSample(self, sampleName):
        """Load the first volume of a data set."""
        return self.downloadSamples(sampleName)[0]


def _isIntact(path, checksum):
    if not path.exists() or checksum is None:
        return path.exists()
    algorithm, _, digest = checksum.partition(":")
    return hashlib.new(algorithm.lower(), path.read_bytes()).hexdigest() == digest


def downloadSample(sampleName):
    """Load the first volume of a data set."""
    return SampleDataLogic().downloadSample(sampleName)
