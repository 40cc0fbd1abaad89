"""What a look for a question that means the same costs, apart from the rest of a request."""
