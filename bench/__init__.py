"""Measures and shakes the gateway: `python -m bench` and `python -m bench.chaos`."""
