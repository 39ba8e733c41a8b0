"""What was found, as documents and figures."""
