"""Turn folders of volumes into a training store."""
