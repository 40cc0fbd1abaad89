"""What questions that mean the same are to a request."""
