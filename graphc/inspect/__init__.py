"""Looking inside, for people: anything with a graph as text or for networkx, colours, the host."""
