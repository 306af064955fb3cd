"""Parts of the benchmark ``waiting``."""
