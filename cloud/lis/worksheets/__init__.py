"""Worksheets: grids of specimens and tests, made from received specimens, printed, typed into, checked twice."""
