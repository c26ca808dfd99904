"""Presentation of results: tables, progress, pages, sentences, and words for fields."""
