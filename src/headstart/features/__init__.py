"""(Frozen network, manifest) -> features on disk, each computed once."""
