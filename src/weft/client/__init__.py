"""The Kubernetes API from outside: one interface, in process and over HTTP, and informers on top of it."""
