"""Train several networks on one data set and compare them on cases that none has seen."""
