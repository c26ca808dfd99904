"""Figures of the seed paper (arXiv:2110.15596) and its authors' notebooks that no other study shows."""
