"""`make bench`: the figures of the service, each beside the machine's floor, measured in the same run."""
