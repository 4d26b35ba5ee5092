"""What carries decisions down to the kernel and facts up from it: network namespaces and rtnetlink."""
