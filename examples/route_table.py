"""A route table: by exact key, and by longest prefix where destinations are prefixes.

python examples/route_table.py
"""

from weft.network.routing import RouteTable

table = RouteTable()
table.add_route("A", "B")
table.add_route("C", "D")
print("A by", table.lookup("A"))
print("C by", table.lookup("C"))
table.remove_route("A")
print("A by", table.lookup("A"))

table.add_route("10.0.0.0/8", "192.0.2.1")
table.add_route("10.1.0.0/16", "192.0.2.2")
table.add_route("2001:db8::/32", "fe80::1")
for address in ("10.1.2.3", "10.2.3.4", "2001:db8::7", "172.16.0.1"):
    print(address, "by", table.lookup(address))
