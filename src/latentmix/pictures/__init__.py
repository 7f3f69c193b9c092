"""Pictures: tiles, and the figures made of them."""
