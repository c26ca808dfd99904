"""Specs as people write them: files and dicts to typed messages, with the line of every value, and back."""
