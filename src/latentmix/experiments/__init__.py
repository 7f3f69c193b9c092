"""Tables and figures of the papers: choices, no logic; one file each."""
