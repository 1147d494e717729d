"""Scan: the op that runs a body graph over a leading axis with carried state."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from graphc.graph import leaf
from graphc.graph.graph import Graph, postorder
from graphc.graph.node import Node, make, operators
from graphc.graph.rewrite import substitute
from graphc.ops.formula import Formula
from graphc.ops.index import Affine, index
from graphc.ops.make import fill
from graphc.ops.pullback import pull_back
from graphc.ops.slicing import part
from graphc.types import TensorType, is_float


@dataclass(frozen=True)
class Scan:
    """One result of running `body` once a step; nodes that differ only in `output` are one run.

    Operands: the first value of every carry, then the sequences, then what all steps share. The
    body reads them through its placeholders `carries`, `slices` (one step's part of a sequence)
    and `shared`; its outputs are the carries' next values, then what the step gives out.

    Result j < len(carries) is the stack of all values of carry j, (length + 1, ...): step t goes
    from position t to t + 1, or from t + 1 to t in reverse. The others are (length, ...).
    """

    body: Graph
    carries: tuple[Node, ...]
    slices: tuple[Node, ...]
    shared: tuple[Node, ...]
    length: int
    reverse: bool
    output: int = 0

    @property
    def name(self) -> str:
        """As shown in the printed graph."""
        return "scan"

    @property
    def checks(self) -> bool:
        """Whether a step can refuse an index."""
        return any(bool(getattr(n.op, "checks", False)) for n in self.body.nodes)

    @property
    def placeholders(self) -> tuple[Node, ...]:
        """The body's inputs, in the order of the operands."""
        return (*self.carries, *self.slices, *self.shared)

    @property
    def steps(self) -> range:
        """The steps in the order in which they run."""
        return range(self.length)[:: -1 if self.reverse else 1]

    def before(self, step: int) -> int:
        """The position of the carries that a step reads; it writes `after`."""
        return step + self.reverse

    def after(self, step: int) -> int:
        """The position of the carries that a step writes."""
        return step + (not self.reverse)

    @property
    def first(self) -> int:
        """The position that holds the carries' first values; `last` holds the final ones."""
        return self.length if self.reverse else 0

    @property
    def last(self) -> int:
        """The position that holds the carries' final values."""
        return 0 if self.reverse else self.length

    def result_type(self, output: int) -> TensorType:
        """The type of a result: one more position where it is a carry."""
        step = self.body.outputs[output].type
        return TensorType(step.dtype, (self.length + (output < len(self.carries)), *step.shape))

    def result(self, output: int, operands: tuple[Node, ...]) -> Node:
        """The node of one of the results of the run on these operands."""
        return make(replace(self, output=output), operands, self.result_type(output))

    def describe(self) -> str:
        """E.g. `[carry 0 of 1] = 5 steps of matmul, add, tanh`."""
        count = len(self.carries)
        kind, of = ("carry", count) if self.output < count else ("output", None)
        number = self.output if of else self.output - count
        ops = dict.fromkeys(n.op.name for n in self.body.nodes if n.inputs)
        way = " backwards" if self.reverse else ""
        return f"[{kind} {number}] = {self.length} steps{way} of {', '.join(ops) or 'nothing'}"

    # --- the chain rule --------------------------------------------------------------------

    def family(self, node: Node) -> Hashable:
        """The run that a node is a result of."""
        return replace(self, output=0), node.inputs

    def vjp(self, position: int, cotangent: Node, node: Node) -> Node | None:
        """Cotangent of one operand from that of one result."""
        return self.joint_vjp([position], {node: cotangent}, node).get(position)

    def joint_vjp(
        self, positions: Sequence[int], cotangents: Mapping[Node, Node], node: Node
    ) -> dict[int, Node]:
        """Cotangents of operands by one scan the other way, whose body is this body's pullback.

        Its carries are the cotangents of this one's. What the steps share gets a sum over all of
        them: made at once from the stacks of what it is a sum of, or else carried along. What a
        step's derivative does not read is not among its operands; what it reads and would cost a
        contraction to make again, the forward run gives out beside its results.
        """
        given = {n.op.output: g for n, g in cotangents.items() if isinstance(n.op, Scan)}
        count, sequences = len(self.carries), len(self.carries) + len(self.slices)
        operands = dict(zip(self.placeholders, node.inputs, strict=True))
        floats = [j for j in range(count) if is_float(self.carries[j].dtype)]
        wanted = [p for p in positions if p >= count and is_float(self.placeholders[p].dtype)]
        taken = {n.op.name for n in self.body.nodes if isinstance(n.op, leaf.Input)}
        taken |= {p.op.name for p in self.placeholders}

        def new(kind: str, number: int, type: TensorType) -> Node:
            name = f"{kind}{number}"
            while name in taken:
                name += "'"
            taken.add(name)
            return make(leaf.Input(name), (), type)

        flowing = {j: new("grad.carry", j, self.carries[j].type) for j in floats}
        arriving = {
            j: new("grad.output", j, self.body.outputs[j].type)
            for j, g in given.items()
            if j >= count or not _only_at(g, self.last)
        }
        joined = {**arriving, **flowing}  # a carry's cotangent at a step is the one that flows
        pulled = pull_back(
            [self.body.outputs[j] for j in joined],
            [self.carries[j] for j in floats] + [self.placeholders[p] for p in wanted],
            list(joined.values()),
        )
        back = dict(zip([*floats, *wanted], pulled, strict=True))

        run, kept = self.keeping(pulled)
        saved = {n: new("saved", i, n.type) for i, n in enumerate(kept)}
        back = {p: b if b is None else substitute(b, saved) for p, b in back.items()}
        here = slice(self.before(0), self.before(0) + self.length)
        starts, carries, following = [], [], []
        for j in floats:
            type = self.carries[j].type
            starts.append(part(given[j], 0, self.last) if j in given else fill(0, type))
            carries.append(flowing[j])
            local = [arriving[j]] if j in arriving else []
            local += [flow for flow in [back[j]] if flow is not None]
            following.append(_sum(local) if local else fill(0, type))
        stack = {c: part(run.result(j, node.inputs), 0, here) for j, c in enumerate(self.carries)}
        stack |= {x: operands[x] for x in self.slices}
        stack |= {
            g: part(given[j], 0, here) if j < count else given[j] for j, g in arriving.items()
        }
        stack |= {p: run.stacked(n, node.inputs) for n, p in saved.items()}
        shared = {s: operands[s] for s in self.shared}
        steps = {p: b for p, b in back.items() if count <= p < sequences and b is not None}
        outputs = dict.fromkeys(steps.values())
        sums: dict[int, list[Node]] = {}
        for p in wanted:
            contribution = back[p]
            if p < sequences or contribution is None:
                continue
            sums[p], rest = summable(contribution)
            for term in sums[p]:
                outputs |= dict.fromkeys(moving(term, [*stack, *flowing.values()], stack))
            if rest:
                total = new("grad.shared", p, self.placeholders[p].type)
                starts.append(fill(0, total.type))
                carries.append(total)
                following.append(_sum([total, *rest]))
                floats.append(p)
        results = run_steps(
            [*following, *outputs],
            dict(zip(carries, starts, strict=True)),
            stack,
            shared,
            self.length,
            not self.reverse,
        )
        stack |= dict(zip(outputs, results[len(carries) :], strict=True))
        finals = [part(r, 0, self.first) for r in results[: len(carries)]]
        flows = dict(zip(floats, finals, strict=True))
        flows |= {p: stack[b] for p, b in steps.items()}
        for p, terms in sums.items():
            flow = [over_steps(term, stack, shared, self.length) for term in terms]
            flows[p] = _sum([*flow, *([flows[p]] if p in flows else [])])
        return {p: flow for p, flow in flows.items() if p in positions}

    def keeping(self, pulled: Sequence[Node | None]) -> tuple[Scan, list[Node]]:
        """The run that also gives out what its pullback reads and cannot cheaply make again."""
        inside = set(self.body.nodes)
        found = postorder([root for root in pulled if root is not None])
        read = {i for n in found if n not in inside for i in n.inputs if i in inside}
        costly: set[Node] = set()
        kept = []
        for node in self.body.nodes:
            if not contraction(node) and not any(i in costly for i in node.inputs):
                continue
            if node in read:
                kept.append(node)
            else:
                costly.add(node)
        outputs = dict.fromkeys([*self.body.outputs, *kept])
        if len(outputs) == len(dict.fromkeys(self.body.outputs)):
            return self, kept
        more = [n for n in kept if n not in self.body.outputs]
        return replace(self, body=Graph((*self.body.outputs, *more))), kept

    def stacked(self, value: Node, operands: tuple[Node, ...]) -> Node:
        """The stack (length, ...) of what a step gives out or carries on."""
        return self.steps_of(self.body.outputs.index(value), operands)

    def steps_of(self, output: int, operands: tuple[Node, ...]) -> Node:
        """Result `output` at every step: (length, ...), for a carry the value that a step makes."""
        result = self.result(output, operands)
        if output >= len(self.carries):
            return result
        return part(result, 0, slice(self.after(0), self.after(0) + self.length))


def contraction(node: Node) -> bool:
    """Whether a node costs far more than its size: a sum that reads elements again, or a scan."""
    return isinstance(node.op, Scan) or (isinstance(node.op, Formula) and node.op.reuses)


def summable(node: Node) -> tuple[list[Node], list[Node]]:
    """A step's contribution to a sum over all steps: terms that are sums themselves, and the rest.

    [i] = a[i] + b[i] is taken apart.
    """
    op = node.op
    if not isinstance(op, Formula) or op.how != "sum":
        return [], [node]
    if op.pointwise and op.expr == sum(op.args) and all(r == op.writes for r in op.reads):
        parts = [summable(operand) for operand in node.inputs]
        if all(operand.type == node.type for operand in node.inputs):
            return [t for terms, _ in parts for t in terms], [r for _, rest in parts for r in rest]
    return ([node], []) if op.summed else ([], [node])


def moving(term: Node, placeholders: Sequence[Node], known: Mapping[Node, Node]) -> list[Node]:
    """The operands of a term that differ from step to step and are not yet known as stacks."""
    varying = set(placeholders)
    for node in postorder(term.inputs):
        if any(operand in varying for operand in node.inputs):
            varying.add(node)
    return [operand for operand in term.inputs if operand in varying and operand not in known]


def over_steps(
    term: Node, stacks: Mapping[Node, Node], shared: Mapping[Node, Node], length: int
) -> Node:
    """[i] += f(x[r]) at every step   ->   [i] += f(xs[t, r])   over the stacks of the operands."""
    op = term.op
    assert isinstance(op, Formula)
    step = "t"
    while step in op.extents:
        step += "'"
    reads = tuple(
        (index(step), *read) if operand in stacks else read
        for operand, read in zip(term.inputs, op.reads, strict=True)
    )
    inputs = tuple(stacks[i] if i in stacks else substitute(i, shared) for i in term.inputs)
    domain = ((step, length), *op.domain)
    whole = Formula(op.name, op.args, op.expr, reads, op.writes, domain)
    return whole.canonical()(inputs, term.type)


def _only_at(cotangent: Node, position: int) -> bool:
    """Whether a stack is seen to be 0 but at one position, as that of a carry's final value is."""
    op = cotangent.op
    return isinstance(op, Formula) and op.writes[:1] == (Affine((), position),)


def _sum(parts: Sequence[Node]) -> Node:
    total = parts[0]
    for node in parts[1:]:
        total = operators["__add__"](total, node)
    return total


def run_steps(
    outputs: Sequence[Node],
    carries: Mapping[Node, Node],
    slices: Mapping[Node, Node],
    shared: Mapping[Node, Node],
    length: int,
    reverse: bool,
) -> tuple[Node, ...]:
    """All results of a scan, placeholders given with their operands; those not read left out."""
    body = Graph(tuple(outputs), tuple(f"out{j}" for j in range(len(outputs))))
    read = set(body.nodes)
    slices = {p: x for p, x in slices.items() if p in read}
    shared = {p: x for p, x in shared.items() if p in read}
    op = Scan(body, tuple(carries), tuple(slices), tuple(shared), length, reverse)
    operands = (*carries.values(), *slices.values(), *shared.values())
    return tuple(op.result(j, operands) for j in range(len(outputs)))
