"""Rows of vectors, and how they are searched: exactly, in half the bytes, or by a graph."""
