"""Virtual keys: who may ask for what, known by digests, kept in a store and answered for from memory."""
