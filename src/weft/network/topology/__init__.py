"""Labs as values: `model` has routers, switches, hosts and links; `reader` makes them of a `Topology` and checks it.

Nothing is imported here: the lab agent needs names and kinds only, and `reader` brings all of `weft.api.validation`.
Who is next: `weft.network.controller`, which decides addresses and routes.
"""
