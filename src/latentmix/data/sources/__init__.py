"""Sources of images, one kind of source per file; `latentmix parts data` lists this folder."""
