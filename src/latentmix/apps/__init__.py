"""What people do with a trained run."""
