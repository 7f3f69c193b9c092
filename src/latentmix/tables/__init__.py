"""Tables and figures of papers: the trainings of each cell, their results, and the published numbers."""
