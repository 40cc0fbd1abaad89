"""What makes vectors of texts: a model in this process, or somebody who is asked."""
