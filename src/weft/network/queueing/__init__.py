"""Queues and who may send next: the scheduler that picks a queue, and a bounded first-in first-out queue."""

from weft.network.queueing.fifo import FifoQueue
from weft.network.queueing.scheduler import Queue, Scheduler

__all__ = ["FifoQueue", "Queue", "Scheduler"]
