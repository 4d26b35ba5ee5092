"""A scheduler over queues of your own, and over bounded queues of Weft: each packet takes the first that has room.

python examples/scheduler.py
"""

from weft.network.queueing import FifoQueue, Scheduler


class Queue:
    """Anything with `can_send` and `send` is a queue."""

    def __init__(self, name, capacity):
        self.name, self.capacity, self.packets = name, capacity, []

    def can_send(self, packet):
        return len(self.packets) < self.capacity

    def send(self, packet):
        self.packets.append(packet)


scheduler = Scheduler([Queue("fast", 2), Queue("slow", 1)])
for packet in ("p1", "p2", "p3", "p4"):
    queue = scheduler.schedule(packet)
    print(packet, "by", queue.name if queue else None)

voice, bulk = FifoQueue(max_packets=2, name="voice"), FifoQueue(max_bytes=1500, name="bulk")
scheduler = Scheduler([voice, bulk])
for size in (200, 200, 1000, 1000):
    print(size, "bytes by", scheduler.schedule(bytes(size)))
