"""Specs: their defaults, their rules, and what they expand to."""
