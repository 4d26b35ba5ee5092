"""`python -m weft.network.routing.daemon`: see `process`."""

from weft.network.routing.daemon.process import main

main()
