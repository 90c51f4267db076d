"""Probes: score frozen features by the labels of three folds. Selection on validation; the test fold is read once."""
