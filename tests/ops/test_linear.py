"""Matrix products and einsum against PyTorch, and the texts of their errors."""

from __future__ import annotations

import re
from typing import Any

import pytest

from graphc import ops
from graphc.autodiff import vjp
from graphc.errors import ShapeError, UnsupportedOpError
from graphc.graph.leaf import input
from graphc.ops.make import fill
from tests.support import random, same, single

MATRICES = [
    ((2, 3), (3, 4)),
    ((5, 1, 2, 3), (6, 3, 4)),
    ((3,), (6, 3, 4)),
    ((2, 5, 3), (3,)),
    ((3,), (3,)),
    ((1, 1), (1, 1)),
    ((0, 3), (3, 4)),
    ((2, 0), (0, 4)),
    ((2, 3, 4), (4, 0)),
]


@pytest.mark.parametrize(("left", "right"), MATRICES)
def test_matmul_equals_pytorch(torch: Any, left: Any, right: Any) -> None:
    a, b = random(*left), random(*right, seed=1)
    same(torch, ops.matmul, torch.matmul, a, b)
    single(torch, ops.matmul, torch.matmul, a, b)
    same(torch, lambda a, b: a @ b, lambda a, b: a @ b, a, b, order=0)


def test_vectors(torch: Any) -> None:
    same(torch, ops.dot, torch.dot, random(5), random(5, seed=1))
    same(torch, ops.outer, torch.outer, random(5), random(4))


@pytest.mark.parametrize("leading", [(), (2,), (2, 5), (0,)])
def test_linear_and_bilinear_equal_pytorch(torch: Any, leading: tuple[int, ...]) -> None:
    functional = torch.nn.functional
    x, weight, bias = random(*leading, 3), random(4, 3), random(4)
    same(torch, ops.linear, functional.linear, x, weight, bias)
    same(torch, ops.linear, functional.linear, x, weight)
    other, square = random(*leading, 2), random(4, 3, 2)
    if leading:
        same(torch, ops.bilinear, functional.bilinear, x, other, square, bias)


def test_a_matrix_product_reads_as_one(torch: Any) -> None:
    a, b = input("a", ("batch", 3)), input("b", (3, 4))
    node = ops.matmul(a, b)
    assert node.shape == ("batch", 4)
    assert node.op.describe() == "[m, n] += a*b  where a[m, k], b[k, n]"
    da, db = vjp([node], [a, b], [fill(1, node.type)])
    assert da.op.describe() == "[m, k] += b*grad  where grad[m, n], b[k, n]"
    assert db.op.describe() == "[k, n] += a*grad  where grad[m, n], a[m, k]"


EINSUMS: list[tuple[str, tuple[tuple[int, ...], ...]]] = [
    ("ij,jk->ik", ((2, 3), (3, 4))),
    ("ij,jk", ((2, 3), (3, 4))),
    ("ba", ((2, 3),)),
    ("ii", ((3, 3),)),
    ("ii->i", ((3, 3),)),
    ("iji->j", ((3, 2, 3),)),
    ("ij->", ((2, 3),)),
    ("...ij,...jk", ((5, 2, 3), (3, 4))),
    ("...i->i", ((2, 3, 4),)),
    ("i...,i->...", ((3, 4, 2), (3,))),
    ("b i, b j -> b i j", ((2, 3), (2, 4))),
    ("Ab,bA", ((2, 3), (3, 2))),
    ("aA,A->a", ((2, 3), (3,))),
    ("ab,bc,cd->ad", ((2, 3), (3, 4), (4, 2))),
    ("ab,cd,ac->bd", ((2, 3), (4, 2), (2, 4))),
    ("bhqd,bhkd->bhqk", ((2, 1, 3, 4), (2, 1, 5, 4))),
    ("i,i,i->i", ((0,), (0,), (0,))),
]


@pytest.mark.parametrize(("text", "shapes"), EINSUMS)
def test_einsum_equals_pytorch(torch: Any, text: str, shapes: Any) -> None:
    arrays = [random(*shape, seed=i) for i, shape in enumerate(shapes)]
    same(torch, lambda *x: ops.einsum(text, *x), lambda *x: torch.einsum(text, *x), *arrays)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("ij->ijk", "'k' in the result, but in no operand"),
        ("ij->ii", "'i' twice in the result"),
        ("i1->i", "'1', which is neither a letter"),
        ("ij,jk->ik", "names 2 operands, 1 given"),
        ("......->...", "'...' twice in one operand"),
    ],
)
def test_einsum_refuses_by_name(text: str, problem: str) -> None:
    with pytest.raises(UnsupportedOpError, match=re.escape(problem)):
        ops.einsum(text, input("x", (2, 2)))


def test_products_name_what_does_not_fit() -> None:
    with pytest.raises(ShapeError, match=r"rows of 3 .* cannot meet columns of 4"):
        ops.matmul(input("a", (2, 3)), input("b", (4, 5)))
    with pytest.raises(ShapeError, match="extents 2 and 3"):
        ops.matmul(input("a", (2, 2, 3)), input("b", (3, 3, 5)))
    with pytest.raises(ShapeError, match="not scalars"):
        ops.matmul(input("a", ()), input("b", (4, 5)))
    with pytest.raises(ShapeError, match=r"expects 3 features .* the input has 7"):
        ops.linear(input("x", (2, 7)), input("w", (4, 3)))
