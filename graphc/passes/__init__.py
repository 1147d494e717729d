"""Graph -> Graph, one pass a file; rules are functions whose docstring is the rule."""
