"""The products: matmul and its kin, and einsum."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from typing import Any

from graphc.errors import ShapeError, UnsupportedOpError
from graphc.graph.node import Node, operators
from graphc.ops.known import kept
from graphc.ops.make import apply, as_node, as_nodes, fail, symbols
from graphc.ops.remedy import remedies
from graphc.ops.scalar import Expr, Symbol
from graphc.ops.signature import parse


def product(
    name: str, signature: str, letters: str, operands: Sequence[Node], **options: Any
) -> Node:
    """The product of operands under a signature, summed over what the result does not carry."""
    args = symbols(letters)
    return apply(name, signature, args, multiplied(*args), operands, **options)


@kept
def multiplied(*factors: Symbol) -> Expr:
    """The product of symbols."""
    return prod(factors[1:], start=factors[0])


@kept
def added(a: Symbol, b: Symbol) -> Expr:
    """The sum of two symbols."""
    return a + b


def shift(x: Node, bias: Any, axis: str) -> Node:
    """x plus one number for each element of its channel axis: the "last", "second" or "first"."""
    signature = {
        "last": "... n, n -> ... n",
        "second": "n f ..., f -> n f ...",
        "first": "f ..., f -> f ...",
    }[axis]
    a, b = symbols("x bias")
    return apply("bias", signature, (a, b), added(a, b), [x, as_node(bias, x.dtype)])


# --- matrices -------------------------------------------------------------------------------

MATMUL = {
    (True, True): "k, k ->",
    (True, False): "k, ... k n -> ... n",
    (False, True): "... m k, k -> ... m",
    (False, False): "... m k, ... k n -> ... m n",
}


def matmul(a: Any, b: Any) -> Node:
    """a @ b: the sum over k of a[..., m, k] * b[..., k, n].

    Leading axes broadcast as in numpy; an operand of one axis is a vector, whose axis the result
    does not have. Raises ShapeError for scalars, and where the extents of k differ.
    """
    a, b = as_nodes([a, b])
    for operand in (a, b):
        if not operand.shape:
            raise fail(ShapeError, "matmul", [a, b], "takes matrices or vectors, not scalars")
    signature = MATMUL[len(a.shape) == 1, len(b.shape) == 1]
    axis = max(len(b.shape) - 2, 0)
    k, other = a.shape[-1], b.shape[axis]
    if k != other:
        problem = (
            f"rows of {k} (axis {len(a.shape) - 1} of a) cannot meet columns of {other} "
            f"(axis {axis} of b){remedies(parse(signature), 'ab', (a.shape, b.shape))}"
        )
        raise fail(ShapeError, "matmul", [a, b], problem)
    return product("matmul", signature, "a b", [a, b])


def dot(a: Any, b: Any) -> Node:
    """The sum of a[k] * b[k], a scalar."""
    return product("dot", "k, k ->", "a b", as_nodes([a, b]))


def outer(a: Any, b: Any) -> Node:
    """result[m, n] = a[m] * b[n]."""
    return product("outer", "m, n -> m n", "a b", as_nodes([a, b]))


LINEAR = "... k, n k -> ... n"


def linear(x: Any, weight: Any, bias: Any = None) -> Node:
    """x @ weight^T + bias: x is (..., k), weight (n, k), bias (n), the result (..., n)."""
    x, weight = as_nodes([x, weight])
    if len(weight.shape) == 2 and x.shape and x.shape[-1] != weight.shape[1]:
        problem = (
            f"the weight expects {weight.shape[1]} features (its axis 1), the input has "
            f"{x.shape[-1]} on its last axis"
            f"{remedies(parse(LINEAR), ('x', 'weight'), (x.shape, weight.shape))}"
        )
        raise fail(ShapeError, "linear", [x, weight], problem)
    result = product("linear", LINEAR, "x weight", [x, weight])
    return result if bias is None else shift(result, bias, "last")


def bilinear(a: Any, b: Any, weight: Any, bias: Any = None) -> Node:
    """result[..., n] = sum of a[..., i] * weight[n, i, j] * b[..., j], plus bias[n]."""
    a, b, weight = as_nodes([a, b, weight])
    half = product("bilinear", "... i, n i j -> ... n j", "a weight", [a, weight])
    result = product("bilinear", "... n j, ... j -> ... n", "a b", [half, b])
    return result if bias is None else shift(result, bias, "last")


# --- einsum ---------------------------------------------------------------------------------


def einsum(text: str, *operands: Any) -> Node:
    """The product of the operands, summed over the letters that the result does not carry.

    As torch.einsum: "ij,jk->ik"; without "->" the result carries, in alphabetical order, the
    letters that occur once; a letter twice in one operand is its diagonal; "..." stands for
    leading axes that broadcast, and is summed where the result has none. Several operands are
    multiplied two at a time from the left. Raises UnsupportedOpError for a text that is none.
    """
    nodes = as_nodes(operands)
    terms, result = _einsum_terms(text, nodes)
    names, node = terms[0], nodes[0]
    if len(nodes) == 1:
        return product("einsum", f"{_spell(names)} -> {_spell(result)}", "a", [node])
    for position in range(1, len(nodes)):
        after = {letter for term in [result, *terms[position + 1 :]] for letter in term}
        both = dict.fromkeys([*names, *terms[position]])
        kept = result if position == len(nodes) - 1 else [n for n in both if n in after]
        signature = f"{_spell(names)}, {_spell(terms[position])} -> {_spell(kept)}"
        node = product("einsum", signature, "a b", [node, nodes[position]])
        names = kept
    return node


def _einsum_terms(text: str, nodes: list[Node]) -> tuple[list[list[str]], list[str]]:
    left, arrow, right = text.replace(" ", "").partition("->")
    terms = [re.findall(r"\.\.\.|.", part) for part in left.split(",")]

    def refuse(problem: str) -> UnsupportedOpError:
        error = fail(UnsupportedOpError, "einsum", nodes, f"{text!r} {problem}")
        assert isinstance(error, UnsupportedOpError)
        return error

    if len(terms) != len(nodes):
        raise refuse(f"names {len(terms)} operands, {len(nodes)} given")
    flat = [letter for term in terms for letter in term]
    if arrow:
        result = re.findall(r"\.\.\.|.", right)
    else:
        once = sorted(n for n in set(flat) if n != "..." and flat.count(n) == 1)
        result = ["..."] * ("..." in flat) + once
    for letter in [*flat, *result]:
        if letter != "..." and not (letter.isascii() and letter.isalpha()):
            raise refuse(f"has {letter!r}, which is neither a letter nor '...'")
    for term in [*terms, result]:
        if term.count("...") > 1:
            raise refuse("has '...' twice in one operand")
    for letter in result:
        if letter not in flat:
            raise refuse(f"has {letter!r} in the result, but in no operand")
        if result.count(letter) > 1:
            raise refuse(f"has {letter!r} twice in the result")
    return terms, result


def _spell(term: list[str]) -> str:
    """Blank-separated index names; a capital, which would be an extent, gets a prefix."""
    return " ".join(f"upper_{n.lower()}" if n.isupper() else n for n in term)


operators["__matmul__"] = matmul
