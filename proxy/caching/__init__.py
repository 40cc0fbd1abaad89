"""What the cache means to a request: its key, who shares a call, what is kept, how it is replayed."""
