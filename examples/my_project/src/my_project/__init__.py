"""Parts for latentmix that live outside of it."""
