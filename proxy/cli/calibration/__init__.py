"""What `askonce calibrate` consists of: pairs are read, embedded, compared, counted and drawn."""
