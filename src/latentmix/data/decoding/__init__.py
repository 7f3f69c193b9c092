"""From bytes, tables and columns of labels to arrays."""
