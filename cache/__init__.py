"""What was answered once: keys, entries, and the tiers that hold them. Knows bytes, frames and metadata, no OpenAI."""
