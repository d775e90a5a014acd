"""Parameters -> log-likelihood, score and information."""
