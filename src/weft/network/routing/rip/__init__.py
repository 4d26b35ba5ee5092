"""Distance vector: RIPv2 (RFC 2453)."""
