"""Tables and figures of AMR."""
