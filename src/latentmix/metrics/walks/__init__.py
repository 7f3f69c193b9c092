"""Mixes and walks that several metrics judge, and the check that a model varies at all."""
