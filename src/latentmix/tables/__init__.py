"""Tables and figures of papers: what is run for each cell, what came out, and what was printed."""
