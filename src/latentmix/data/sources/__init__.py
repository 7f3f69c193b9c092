"""Where images come from; one file a kind of source, and the folder is the list."""
