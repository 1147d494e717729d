"""A model whose names are HTML."""

import graphc
from graphc import nn

graphc.seed(0)
NAME = "<script>window.broken = 1</script>"


class Outer(nn.Module):
    """A module whose child has a name that no attribute has."""

    def __init__(self) -> None:
        self.add_module(NAME, nn.Linear(3, 2))

    def forward(self, x: graphc.Node) -> graphc.Node:
        """The child's result."""
        with graphc.layer('"><img src=x onerror="window.broken = 2">'):
            return graphc.relu(self._modules[NAME](x))


model = Outer()
inputs = {"x": ("batch", 3)}
