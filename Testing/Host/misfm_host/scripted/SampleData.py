"""`SampleData`: data sets are registered here; the host downloads none."""

import types

import slicer


class SampleDataLogic:
    """The registered data sets, by category, are in `slicer.modules.sampleDataSources`."""

    @staticmethod
    def registerCustomSampleDataSource(
        category="Custom",
        sampleName=None,
        uris=None,
        fileNames=None,
        nodeNames=None,
        customDownloader=None,
        thumbnailFileName=None,
        loadFileTypes=None,
        loadFiles=None,
        loadFileProperties=None,
        checksums=None,
        loadFileType=None,
    ):
        """Register a data set."""
        source = types.SimpleNamespace(**locals())
        if not hasattr(slicer.modules, "sampleDataSources"):
            slicer.modules.sampleDataSources = {}
        slicer.modules.sampleDataSources.setdefault(category, []).append(source)

    def sourceForSampleName(self, sampleName):
        """Return a registered data set, None for an unknown one."""
        categories = getattr(slicer.modules, "sampleDataSources", {}).values()
        sources = (source for category in categories for source in category)
        return next((source for source in sources if source.sampleName == sampleName), None)

    def downloadSamples(self, sampleName):
        """Load a data set that brings its own downloader."""
        source = self.sourceForSampleName(sampleName)
        if source is None or source.customDownloader is None:
            raise RuntimeError(f"The test host downloads nothing: {sampleName}")
        return source.customDownloader(source)

    def downloadSample(self, sampleName):
        """Load the first volume of a data set."""
        return self.downloadSamples(sampleName)[0]


def downloadSample(sampleName):
    """Load the first volume of a data set."""
    return SampleDataLogic().downloadSample(sampleName)
