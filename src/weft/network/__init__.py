"""The elastic network: topology, routing, queueing, controller, southbound, data planes, and networks for pods."""
