"""The commands of ``misfm``: each turns its arguments into a config and runs a job."""
