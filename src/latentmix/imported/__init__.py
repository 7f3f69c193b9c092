"""Autoencoders that others trained, as networks of a run; `latentmix import` writes such runs."""
