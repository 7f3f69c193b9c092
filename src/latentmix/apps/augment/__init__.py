"""Augmentation by mixes, with a verdict: does a classifier do better with them than without?"""
