"""What is learned from answers that were asked for twice: labels, and the thresholds that they prove."""
