"""The loops that make the world like its resources; each reaches data only by `client`."""
