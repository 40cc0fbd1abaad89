"""Two prepared questions against each other: repaired, aligned, licensed, ordered, vetoed. Sans-IO."""
