"""Pictures: image tiles on a sheet, and the figures that are made of them."""
