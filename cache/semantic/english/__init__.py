"""What English allows to change in a question without changing the question. Sans-IO."""
