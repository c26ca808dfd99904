"""Exact subdivision of a plane of two free exponents; knows numbers and polygons, nothing of networks."""
