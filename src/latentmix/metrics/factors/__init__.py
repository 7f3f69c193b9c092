"""Parts of the scores of disentanglement: voting, and the SAP score."""
