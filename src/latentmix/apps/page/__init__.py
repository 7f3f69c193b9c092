"""The page that mixes: one HTML file with the trained encoder and decoder inside, or a live one."""
