"""Decoding: from the bytes of image files, tables and columns of labels to arrays."""
