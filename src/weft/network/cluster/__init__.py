"""Networks for pods and containers: sandboxes on the node's bridge, published ports, services, DNS, clean-up."""
