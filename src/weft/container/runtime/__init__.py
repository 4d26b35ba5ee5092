"""OCI runtimes (crun, runc) and conmon: configurations, command lines, cgroups."""
