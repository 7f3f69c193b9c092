"""What the scores of disentanglement share."""
