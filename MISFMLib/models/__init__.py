"""Models as bundles: files, card, store, catalogue, download, terminology."""
