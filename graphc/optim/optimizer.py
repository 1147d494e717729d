"""What all optimisers share: rates, groups, decay, clipping, and state in cells."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from graphc import ops
from graphc.errors import DTypeError, InputError
from graphc.graph import leaf
from graphc.graph.leaf import Cell
from graphc.graph.node import Node
from graphc.graph.site import Site, current_site
from graphc.nn.parameter import Parameter
from graphc.optim import clip
from graphc.optim.schedules import Constant, Schedule

Rate = float | Schedule
Group = Mapping[str, Any]
State = dict[str, Node]
Array = NDArray[Any]


class Optimizer:
    """Turns gradients into updates of parameters and of its own state, as nodes of the step.

    lr is a number or a schedule (graphc.optim.schedules); it lives in a cell that Python writes
    between steps, so that another rate costs no compilation. weight_decay (L2) adds
    weight_decay * x, and l1_decay adds l1_decay * sign(x), to the gradient. Before that,
    clip_value limits every element of every gradient to [-clip_value, clip_value], and clip_norm
    scales all gradients together so that their common Euclidean norm is at most clip_norm.

    groups is a list of dicts, as torch's: {"params": parameters, "lr": rate or schedule, ...};
    "lr_factor" instead of "lr" multiplies the optimiser's own rate, and any other option of the
    optimiser can be given. Parameters in no group follow the optimiser's options. An optimiser
    serves one model.

    Raises InputError for options out of range or unknown, and for a parameter in two groups.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    """The names of the arrays that are kept for each parameter."""

    scheduled: bool
    """Whether some rate changes by a schedule."""

    made_at: Site
    """The line that made it, where the nodes of its updates come from."""

    def __new__(cls, *given: Any, **named: Any) -> Self:
        """Refuse options that no __init__ of the class knows, and torch's parameters in front."""
        known = {
            name: None
            for kind in cls.__mro__[:-1]
            if "__init__" in vars(kind)
            for name, p in inspect.signature(vars(kind)["__init__"]).parameters.items()
            if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY) and name != "self"
        }
        for name in named:
            if name not in known:
                raise InputError(
                    f"{cls.__name__} has no option {name!r}; it has {', '.join(known)}"
                )
        if given and not (callable(given[0]) or isinstance(given[0], int | float | np.number)):
            raise InputError(
                f"the first argument of {cls.__name__} is the rate, a number or a schedule, not "
                f"{type(given[0]).__name__}; the parameters are those of the model that is trained"
            )
        optimizer = super().__new__(cls)
        optimizer.made_at = current_site()
        return optimizer

    def __init__(
        self,
        lr: Rate,
        *,
        groups: Sequence[Group] = (),
        weight_decay: float = 0.0,
        l1_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        **options: Any,
    ) -> None:
        self.options = {"weight_decay": weight_decay, "l1_decay": l1_decay, **options}
        self.clip_norm, self.clip_value = clip_norm, clip_value
        for name, limit in (("clip_norm", clip_norm), ("clip_value", clip_value)):
            if limit is not None and not limit > 0:
                raise InputError(f"{name} must be positive, got {limit}")
        self.groups: list[Group] = [{"params": []}, *groups]
        self._members: dict[int, int] = {}
        for position, group in enumerate(self.groups):
            self._check_group(position, group)
        self._follow([schedule_of(group.get("lr", lr)) for group in self.groups])
        self._factors = [float(group.get("lr_factor", 1.0)) for group in self.groups]
        self.cells: dict[str, Cell] = {}
        self._attached: dict[str, Parameter] = {}
        self._served: dict[str, Parameter] = {}
        self._cell("step", leaf.filled((), "float64"))
        for position, schedule in enumerate(self._schedules):
            first = schedule(0, 1) * self._factors[position]
            self._cell(rate_name(position), leaf.filled((), "float64", first))

    def _check_group(self, position: int, group: Group) -> None:
        if not isinstance(group, Mapping):
            raise InputError(f"group {position} must be a dict with params, not {group!r}")
        known = {"params", "lr", "lr_factor", *self.options}
        wrong = [name for name in group if name not in known]
        if "params" not in group or wrong:
            raise InputError(
                f"group {position} has {', '.join(group)}; it needs params, and may have "
                f"{', '.join(sorted(known - {'params'}))}"
            )
        if "lr" in group and "lr_factor" in group:
            raise InputError(f"group {position} has both lr and lr_factor; give one")
        params = group["params"]
        listed = [params] if isinstance(params, Parameter) else list(params)
        for parameter in listed:
            if not isinstance(parameter, Parameter):
                raise InputError(f"group {position}: {parameter!r} is no Parameter")
            if id(parameter) in self._members:
                raise InputError(f"a parameter of shape {parameter.shape} stands in two groups")
            self._members[id(parameter)] = position
        for name in ("weight_decay", "l1_decay"):
            if self.setting(position, name, group) < 0:
                raise InputError(f"{name} must not be negative")

    def setting(self, position: int, name: str, group: Group | None = None) -> Any:
        """An option's value in a group."""
        found = self.groups[position] if group is None else group
        return found.get(name, self.options[name])

    # --- the rate ---------------------------------------------------------------------------

    @property
    def lr(self) -> float:
        """The rate that the next step uses, outside of groups; it can be set at any time.

        Setting it replaces the schedule, and keeps every group's ratio to it.
        """
        return float(self.cells["lr"].value)

    @lr.setter
    def lr(self, rate: Rate) -> None:
        old = self.lr
        for position, group in enumerate(self.groups):
            if "lr" in group:
                ratio = float(self.cells[rate_name(position)].value) / old if old else 1.0
                self._factors[position] = ratio
        self._follow([schedule_of(rate)] * len(self.groups))
        self.set_rates(self.step, 1)

    @property
    def step(self) -> int:
        """How many steps have been taken."""
        return int(self.cells["step"].value)

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """The schedule of every group, the first that of parameters in none."""
        return tuple(self._schedules)

    def _follow(self, schedules: Sequence[Schedule]) -> None:
        self._schedules = list(schedules)
        self.scheduled = any(not isinstance(schedule, Constant) for schedule in schedules)

    def rates(self, steps: range, steps_per_epoch: int) -> dict[Cell, Array]:
        """For each cell of a rate what it holds in each of some steps, (steps,)."""
        return {
            self.cells[rate_name(position)]: np.array(
                [schedule(step, steps_per_epoch) * self._factors[position] for step in steps]
            )
            for position, schedule in enumerate(self._schedules)
        }

    def set_rates(self, step: int, steps_per_epoch: int) -> None:
        """Write the rates of a step, counted from 0, into their cells."""
        for position, schedule in enumerate(self._schedules):
            rate = schedule(step, steps_per_epoch) * self._factors[position]
            self.cells[rate_name(position)].value[...] = rate

    # --- the step ---------------------------------------------------------------------------

    def attach(self, parameters: Iterable[tuple[str, Parameter]]) -> None:
        """Make the state for parameters, given with their paths; again, for what is trainable now.

        Raises InputError for parameters other than those it was attached to before.
        """
        everything = dict(parameters)
        named = {path: p for path, p in everything.items() if p.trainable}
        if self._attached:
            served = {id(p) for p in self._served.values()}
            if not served >= {id(p) for p in named.values()}:
                raise InputError("this optimiser already serves another model; make a new one")
            named = {path: p for path, p in named.items() if path not in self._attached}
        else:
            self._served = everything
            self._check_members(named)
        for path, parameter in named.items():
            if parameter.dtype not in ("float32", "float64"):
                raise DTypeError(f"{path} is {parameter.dtype}, which cannot be trained")
            for slot in self.slots_in(self._members.get(id(parameter), 0)):
                start = leaf.filled(parameter.shape, parameter.dtype, self.start(slot))
                self._cell(f"{path}.{slot}", start)
        self._attached |= named

    def _check_members(self, named: Mapping[str, Parameter]) -> None:
        unknown = set(self._members) - {id(p) for p in named.values()}
        if unknown:
            raise InputError(f"{len(unknown)} parameters of the groups are not in the model")

    def updates(self, gradients: Mapping[Parameter, Node]) -> dict[Node, Node]:
        """One step: for each variable, of a parameter or of the state, its next value."""
        paths = {id(p): path for path, p in self._attached.items()}
        flows = clip.clip(list(gradients.values()), self.clip_norm, self.clip_value)
        time = self._node("step") + 1.0
        found = {self._node("step"): time}
        for parameter, flow in zip(gradients, flows, strict=True):
            position = self._members.get(id(parameter), 0)
            path, x = paths[id(parameter)], parameter.node
            settings = {name: self.setting(position, name) for name in self.options}
            before = {s: self._node(f"{path}.{s}") for s in self.slots_in(position)}
            rate = self._node(rate_name(position))
            flow = self.decayed(x, flow, rate, settings)
            following, after = self.rule(x, flow, before, rate, time, settings)
            found[x] = following
            found |= {before[slot]: value for slot, value in after.items()}
        return found

    def decayed(self, x: Node, gradient: Node, rate: Node, settings: dict[str, Any]) -> Node:
        """The gradient with decay added."""
        if settings["weight_decay"]:
            gradient = gradient + settings["weight_decay"] * x
        if settings["l1_decay"]:
            gradient = gradient + settings["l1_decay"] * ops.sign(x)
        return gradient

    def rule(
        self,
        x: Node,
        gradient: Node,
        state: State,
        rate: Node,
        time: Node,
        settings: dict[str, Any],
    ) -> tuple[Node, State]:
        """The next value of a parameter, and of its state.

        rate and time (the number of this step, from 1) are float64 scalars.
        """
        raise NotImplementedError

    def slots_in(self, position: int) -> tuple[str, ...]:
        """The arrays that a group's settings need; by default all of `slots`."""
        return self.slots

    def start(self, slot: str) -> float:
        """What an array of the state is filled with at first."""
        return 0.0

    def _cell(self, name: str, value: Array) -> None:
        self.cells[name] = Cell(f"optimizer.{name}", value, trainable=False)

    def _node(self, name: str) -> Node:
        return leaf.variable(self.cells[name])

    # --- state ------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Array]:
        """Copies of the state: "step", the rates "lr", "lr.1", ..., and "<parameter>.<slot>"."""
        return {name: np.array(cell.value) for name, cell in self.cells.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where state_dict was taken. Call it once the optimiser is attached to its model.

        Raises InputError that lists what is missing, unexpected, or of another shape.
        """
        problems = [f"missing: {name}" for name in self.cells if name not in state]
        problems += [f"unexpected: {name}" for name in state if name not in self.cells]
        for name, cell in self.cells.items():
            if name in state and np.shape(state[name]) != cell.value.shape:
                problems.append(
                    f"{name}: has shape {cell.value.shape}, given {np.shape(state[name])}"
                )
        if problems:
            hint = "" if self._attached else "\n  (no model is compiled with this optimiser yet)"
            listed = "\n  ".join(problems)
            raise InputError(f"cannot load the state of {type(self).__name__}:\n  {listed}{hint}")
        for name, cell in self.cells.items():
            cell.assign(state[name])
        kept = list(self._schedules)
        for position, schedule in enumerate(kept):
            if isinstance(schedule, Constant):
                self._factors[position] = 1.0
                kept[position] = Constant(float(self.cells[rate_name(position)].value))
        self._follow(kept)

    def __repr__(self) -> str:
        """The rate and the options."""
        options = "".join(f", {name}={value}" for name, value in self.options.items() if value)
        return f"{type(self).__name__}(lr={self.lr}{options})"


def like(scalar: Node, x: Node) -> Node:
    """A float64 scalar in x's dtype."""
    return ops.cast(scalar, x.dtype)


def rate_name(position: int) -> str:
    """The name of a group's rate."""
    return f"lr.{position}" if position else "lr"


def schedule_of(rate: Rate) -> Schedule:
    """A number as the schedule that always gives it."""
    return rate if callable(rate) else Constant(float(rate))
