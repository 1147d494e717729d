"""Live: the explorer pages of trainings that run, served to the browser of the same machine."""

from __future__ import annotations

import html
from functools import partial
from http import HTTPStatus
from typing import Self

from graphc.errors import InputError
from graphc.explorer.page import asset, fingerprint, policy, program
from graphc.explorer.running import Running
from graphc.explorer.server import Answer, Handler, Request, Server
from graphc.train.callbacks import Callback, Steps, TrainerLike
from graphc.train.trainer import Trainer

MOST = 20
"""Trainings that are kept; beyond, the oldest that has ended is not shown any more."""
CONTROLS = ("pause", "resume", "stop")
REFRESH = (("Refresh", "1"),)
"""Has the browser ask again in a second."""


class Live(Callback):
    """Shows trainings in the browser while they run, as a callback of Trainer.fit.

        with graphc.Live() as live:
            print(live.address)
            trainer.fit(x, y, callbacks=[live])

    It listens from the beginning until `close`, on `port` of 127.0.0.1 or on one that is free; the
    page can pause a training and end it after an epoch. Only who has `address`, which holds a
    token, gets an answer. Raises InputError where the port is taken, or where the extra `serve` is
    not installed.
    """

    def __init__(self, port: int = 0) -> None:
        self.runs: dict[int, Running] = {}
        self.count = 0
        self.server = Server(self.routes, port)
        self.address = self.server.address

    def close(self) -> None:
        """Serve no more, and let go on what was paused."""
        self.server.close()
        for run in self.runs.values():
            run.going.set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- the callback -------------------------------------------------------------------------

    def on_train_begin(self, trainer: TrainerLike) -> None:
        """Begin to watch a training."""
        run = self.find(trainer)
        if run is not None:
            run.begin()
            return
        if not isinstance(trainer, Trainer):
            raise InputError(f"Live shows a graphc.Trainer, not {type(trainer).__name__}")
        self.count += 1
        self.runs[self.count] = Running(trainer, self.count, f"{self.server.prefix}{self.count}/")
        over = [number for number, run in self.runs.items() if not run.fitting]
        for number in over[: max(len(self.runs) - MOST, 0)]:
            del self.runs[number]

    def on_epoch_begin(self, trainer: TrainerLike) -> None:
        """Begin the curve of an epoch."""
        self.of(trainer).begin_epoch()

    def on_steps_end(self, trainer: TrainerLike, made: Steps) -> None:
        """Look, where somebody wants to see; wait, where that is asked for."""
        self.of(trainer).steps(made)

    def on_train_end(self, trainer: TrainerLike) -> None:
        """Look once more."""
        self.of(trainer).end()

    def of(self, trainer: TrainerLike) -> Running:
        """The training of a trainer."""
        run = self.find(trainer)
        assert run is not None
        return run

    def find(self, trainer: TrainerLike) -> Running | None:
        """The same; None where it has none, or compiled another step since."""
        for run in reversed(list(self.runs.values())):
            step = run.trainer.step
            if run.trainer is trainer and step is not None and step.program is run.program:
                return run
        return None

    # --- the pages ----------------------------------------------------------------------------

    def routes(self, parts: tuple[str, ...]) -> dict[str, Handler]:
        """What answers at an address: "" all trainings, N/ one, N/state where it stands."""
        if parts in ((), ("",)):
            return {"GET": self.index}
        run = self.runs.get(number(parts[0])) if len(parts) == 2 else None
        if run is None or run.seen is None:
            return {}
        match parts[1]:
            case "":
                return {"GET": partial(shown, run)}
            case "state":
                return {"GET": partial(state, run)}
            case what if what in CONTROLS:
                return {"POST": partial(controlled, run, what)}
        return {}

    def index(self, request: Request) -> Answer:
        """All trainings; the one itself, where there is one; or that there is none yet."""
        runs = [run for run in list(self.runs.values()) if run.seen is not None]
        if not runs:
            return listed("<p>Nothing trains yet.</p>", REFRESH)
        if self.count == 1:
            return Answer("", HTTPStatus.SEE_OTHER, headers=(("Location", runs[0].prefix),))
        items = (
            f'<li><a href="{run.prefix}">{html.escape(run.title)}</a>, training {run.number}: '
            f"{run.status}, {run.trainer.epoch} epochs</li>"
            for run in reversed(runs)
        )
        return listed(f"<ul>{''.join(items)}</ul>")


def listed(body: str, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """A page without a script."""
    style = asset("style.css")
    text = (
        '<!DOCTYPE html><html lang="en"><meta charset="utf-8"><title>Trainings · graphc</title>'
        f"<style>{style}</style><header><h1>Trainings</h1></header>"
        f'<main id="trainings">{body}</main></html>'
    )
    allowed = f"default-src 'none'; style-src '{fingerprint(style)}'"
    return Answer(text, type="text/html", policy=allowed, headers=headers)


def shown(run: Running, request: Request) -> Answer:
    """The explorer page of a training."""
    allowed = policy(asset("style.css"), program(), run.prefix)
    return Answer(run.page(), type="text/html", policy=allowed)


def state(run: Running, request: Request) -> Answer:
    """Where it stands; with what is to be seen, where its number is not ?since=."""
    text = run.state(number(request.query.get("since", "")))
    return Answer(text, type="application/json")


def number(text: str) -> int:
    """The number that some digits are; 0 where they are none, or too many."""
    return int(text) if text.isdecimal() and len(text) < 10 else 0


def controlled(run: Running, what: str, request: Request) -> Answer:
    """Do what was asked for, and say where it stands then."""
    if not run.control(what):
        return Answer("nothing is being trained\n", HTTPStatus.CONFLICT)
    return Answer(f'{{"status":"{run.status}"}}', type="application/json")
