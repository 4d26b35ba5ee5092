"""Shortest paths kept up to date after one change (Ramalingam and Reps 1996; Narvaez, Siu and Tzeng 2000).

In: a `Graph`, which is changed through here, and a source. Out: distances, all equal-cost parents (edge numbers), and
for each change the nodes whose distance or parents differ. Work is done only for the nodes below the change.
"""

import heapq

from weft.network.routing.spf.graph import INFINITE, Graph, distances


class IncrementalSPF:
    def __init__(self, graph: Graph, source: int) -> None:
        self.graph = graph
        self.source = source
        self.distance = distances(graph, source)
        self.parents = [self._tight(node) for node in range(len(graph.names))]

    def change(self, edge: int, weight: int) -> set[int]:
        old = self.graph.weights[edge]
        self.graph.change_edge(edge, weight)
        if weight > old:
            return self._worse(edge)
        return self._better(edge) if weight < old else set()

    def remove(self, edge: int) -> set[int]:
        self.graph.remove_edge(edge)
        return self._worse(edge)

    def added(self, edge: int) -> set[int]:
        """To be called after `graph.add_edge`, once for each edge, before any other change."""
        while len(self.distance) < len(self.graph.names):
            self.distance.append(INFINITE)
            self.parents.append(set())
        return self._better(edge)

    def remove_node(self, node: int) -> set[int]:
        """Takes away all edges of a node; its number stays, out of reach."""
        before: dict[int, tuple[int, set[int]]] = {}
        edges = {*self.graph.incoming[node], *self.graph.outgoing[node]}
        for edge in sorted(edges):
            self.graph.remove_edge(edge)
        for edge in sorted(edges):
            self._worse(edge, before)
        return self._differing(before)

    def _tight(self, node: int) -> set[int]:
        graph, distance = self.graph, self.distance
        cost = distance[node]
        if cost >= INFINITE:
            return set()
        return {edge for edge in graph.incoming[node] if distance[graph.tails[edge]] + graph.weights[edge] == cost}

    def _differing(self, before: dict[int, tuple[int, set[int]]]) -> set[int]:
        return {node for node, old in before.items() if old != (self.distance[node], self.parents[node])}

    def _worse(self, edge: int, before: dict[int, tuple[int, set[int]]] | None = None) -> set[int]:
        graph, distance, parents = self.graph, self.distance, self.parents
        before = {} if before is None else before
        affected: set[int] = set()
        lost = [edge]
        while lost:
            edge = lost.pop()
            head = graph.heads[edge]
            if edge not in parents[head]:
                continue
            before.setdefault(head, (distance[head], set(parents[head])))
            parents[head].discard(edge)
            if not parents[head]:  # as costs are positive, parents have no cycles: no path of the old length is left
                affected.add(head)
                lost.extend(graph.outgoing[head])
        for node in affected:
            distance[node] = INFINITE
        heap = []
        for node in affected:
            cost = min((distance[graph.tails[e]] + graph.weights[e] for e in graph.incoming[node]), default=INFINITE)
            if cost < INFINITE:
                heap.append((cost, node))
        for cost, node in heap:
            distance[node] = cost
        heapq.heapify(heap)
        self._spread(heap)
        for node in affected:
            parents[node] = self._tight(node)
        return self._differing(before)

    def _better(self, edge: int) -> set[int]:
        graph, distance, parents = self.graph, self.distance, self.parents
        head = graph.heads[edge]
        through = distance[graph.tails[edge]] + graph.weights[edge]
        if through > distance[head] or through >= INFINITE:
            return set()
        before = {head: (distance[head], set(parents[head]))}
        if through == distance[head]:
            parents[head].add(edge)
            return self._differing(before)
        old = {head: distance[head]}
        distance[head] = through
        old.update(self._spread([(through, head)]))
        old[head] = before[head][0]
        touched = set(old) | {graph.heads[e] for node in old for e in graph.outgoing[node]}
        for node in touched:
            before[node] = (old.get(node, distance[node]), parents[node])
            parents[node] = self._tight(node)
        return self._differing(before)

    def _spread(self, heap: list[tuple[int, int]]) -> dict[int, int]:
        """Dijkstra from nodes with a new distance; gives the former distances of the others that it lowers."""
        graph, distance = self.graph, self.distance
        former: dict[int, int] = {}
        while heap:
            cost, node = heapq.heappop(heap)
            if cost > distance[node]:
                continue
            for edge in graph.outgoing[node]:
                head = graph.heads[edge]
                through = cost + graph.weights[edge]
                if through < distance[head]:
                    former.setdefault(head, distance[head])
                    distance[head] = through
                    heapq.heappush(heap, (through, head))
        return former
