"""What limits and money mean to a request: who is counted, what is reserved, what it comes to."""
