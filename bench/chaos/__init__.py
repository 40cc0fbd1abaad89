"""Scenarios that shake the gateway, and the laws that must hold through them."""
