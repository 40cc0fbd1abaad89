"""What is known of questions that were answered, and where that is kept."""
