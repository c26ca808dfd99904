"""Scheduling: pure decisions on what trains when and where, and the dispatcher that carries them out."""
