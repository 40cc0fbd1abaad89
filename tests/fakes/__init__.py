"""What stands around the gateway in tests: scripted upstream, TCP toxics, raw client, clock, the gateway itself."""
