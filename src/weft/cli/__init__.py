"""What people touch: the `weft` command, the two processes and their supervisor; only this package wires the parts."""
