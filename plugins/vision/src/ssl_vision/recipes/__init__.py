"""The records of the methods, one file per family. Import no torch."""
