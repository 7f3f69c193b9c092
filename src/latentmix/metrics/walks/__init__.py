"""Mixes, walks and pairs of images that several metrics judge, and whether they vary at all."""
