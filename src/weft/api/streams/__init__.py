"""How Kubernetes's clients put several streams into one connection: SPDY/3.1, and channels inside a WebSocket."""
