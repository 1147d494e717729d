"""A model of more than 2,000 nodes in a training step, of few distinct kernels."""

import graphc
from graphc import nn, optim

DEPTH = 36
graphc.seed(0)


class Block(nn.Module):
    """x + tanh(linear(norm(x)))."""

    def __init__(self, width: int) -> None:
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)

    def forward(self, x: graphc.Node) -> graphc.Node:
        """The block's result."""
        return x + graphc.tanh(self.linear(self.norm(x)))


model = nn.Sequential(*[Block(32) for _ in range(DEPTH)], nn.Linear(32, 4))
inputs = {"x": ("batch", 32)}
trainer = graphc.Trainer(model, loss="cross_entropy", optimizer=optim.SGD(0.01, momentum=0.9))
