"""Objectives: `objective(*rows) -> ()` on aligned rows, each (N, D). Row i of one view belongs to row i of the others.

One that is written `forward(self, a, b)` compares pairs; the composer averages it over all pairs of views. One that is
written `forward(self, *views)` takes all views at once.
"""
