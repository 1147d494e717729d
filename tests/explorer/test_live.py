"""A training in the browser: what its page shows and does, and whom it answers."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import graphc
from graphc import nn, optim
from graphc.cli import main
from graphc.errors import InputError
from graphc.explorer import live as live_
from graphc.explorer.running import POINTS, SAMPLE, Turn, Within
from graphc.explorer.server import BODY, CONNECTIONS
from graphc.train import Callback, Steps, watching
from graphc.train.callbacks import TrainerLike
from tests.cli.processes import COMMAND, piped
from tests.explorer.browser import chromium

pytest.importorskip("waitress", reason="waitress is not installed: pip install '.[serve]'")

SCRIPT = """
import sys
import numpy as np
import graphc
from graphc import nn, optim

draw = np.random.default_rng(0)
x = draw.standard_normal((4000, 64)).astype(np.float32)
y = (x[:, 0] > 0).astype(np.int64)
model = nn.Sequential(nn.Linear(64, 200), nn.ReLU(), nn.Linear(200, 2))
trainer = graphc.Trainer(model, loss="cross_entropy", optimizer=optim.SGD(0.01))
if __name__ == "__main__":
    print("arguments", *sys.argv[1:], flush=True)
    trainer.fit(x, y, batch_size=20, epochs=int(sys.argv[1]), verbose=0)
    print("trained", flush=True)
    sys.exit(7)
"""
STARTED: list[subprocess.Popen[str]] = []
PATIENCE = 120.0
"""Seconds until something must have happened; the machine may be busy."""


def until(condition: Callable[[], Any]) -> Any:
    """What a condition gives once it holds."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


@dataclass
class Reply:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: str

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Client:
    """Asks a server at an address, whose path is the token."""

    address: str
    port: int = field(init=False)
    token: str = field(init=False)

    def __post_init__(self) -> None:
        _, _, host, self.token, _ = self.address.split("/")
        self.port = int(host.rpartition(":")[2])

    def ask(self, method: str, path: str, **headers: str) -> Reply:
        """One request, whose headers may be anything; `Host` where it is not given."""
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        connection.putrequest(method, path, skip_host="Host" in headers, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        reply = Reply(answer.status, dict(answer.getheaders()), answer.read().decode())
        connection.close()
        return reply

    def get(self, path: str) -> Reply:
        return self.ask("GET", f"/{self.token}/{path}")

    def state(self, since: int = 0) -> Any:
        return self.get(f"1/state?since={since}").json

    def post(self, what: str) -> Reply:
        return self.ask("POST", f"/{self.token}/1/{what}", X_Graphc_Token=self.token)


@dataclass
class Served:
    """`graphc explore --serve` as a process."""

    process: subprocess.Popen[str]
    client: Client
    said: list[str]

    def interrupt(self) -> int:
        """Ctrl-C, and the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE)


def serve(folder: Path, *arguments: str, script: str = SCRIPT) -> Served:
    """Start it, and wait until its first step is made."""
    path = folder / "script.py"
    path.write_text(script)
    process = subprocess.Popen(
        [*COMMAND, "explore", "--serve", str(path), "--", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "GRAPHC_THREADS": "1"},
        text=True,
    )
    STARTED.append(process)
    assert process.stderr is not None
    first = process.stderr.readline()
    found = re.fullmatch(r"live: (http://127\.0\.0\.1:\d+/[\w-]{32}/)\n", first)
    assert found, first + process.stderr.read()
    served = Served(process, Client(found[1]), [])
    threading.Thread(target=lambda: served.said.extend(process.stderr or ()), daemon=True).start()
    until(lambda: served.client.get("").status == 303)
    return served


@pytest.fixture(scope="module", autouse=True)
def none_is_left() -> Iterator[None]:
    """A process that a failed test leaves behind ends with the last test."""
    yield
    for process in STARTED:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A training that goes on for as long as it is looked at."""
    return serve(tmp_path_factory.mktemp("live"), "1000000")


# --- what it shows ----------------------------------------------------------------------------


def test_curves_grow_times_come_and_weights_change(endless: Served) -> None:
    client = endless.client
    first = until(lambda: (found := client.state())["training"]["epochs"] and found)
    later = until(lambda: (found := client.state(first["number"])).get("training") and found)
    assert first["status"] == later["status"] == "training" and later["steps"] == 200
    assert (later["epoch"], later["step"]) > (first["epoch"], first["step"])
    losses = [found["training"]["curves"]["loss"] for found in (first, later)]
    assert losses[1][: len(losses[0])] == losses[0] and len(losses[1]) > len(losses[0])
    assert later["training"]["epochs"] == list(range(1, len(losses[1]) + 1))
    shown = [{p["name"]: p for p in found["training"]["parameters"]} for found in (first, later)]
    assert list(shown[0]) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert all(shown[0][name]["values"] != shown[1][name]["values"] for name in shown[0])
    assert sum(shown[0]["0.weight"]["values"]["counts"]) == SAMPLE < 64 * 200
    assert sum(shown[0]["2.weight"]["values"]["counts"]) == 400
    rows = later["roofline"]["rows"]
    assert rows and all(row["seconds"] > 0 for row in rows)
    assert sum(row["share"] for row in rows) == pytest.approx(1, abs=0.05)


def test_the_page_and_its_gradients(endless: Served) -> None:
    """The page asks its own server alone; gradients come once it was looked at."""
    client = endless.client
    reply = client.get("1/")
    policy = reply.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert f'"live":"/{client.token}/1/"' in reply.body and "script.py:" in reply.body
    found = until(lambda: (s := client.state())["training"]["gradients"] and s)
    assert "Gradients on the batch of step" in found["training"]["gradients"]
    for parameter in found["training"]["parameters"]:
        assert sum(parameter["gradient"]["counts"]) == min(SAMPLE, counted(parameter["shape"]))


def counted(shape: str) -> int:
    """The elements of a type as it is printed."""
    return int(np.prod([int(n) for n in re.findall(r"\d+", shape.partition("[")[2])]))


def test_what_is_not_newer_is_not_sent_again(endless: Served) -> None:
    """Looks are at least a second apart, whoever asks."""
    numbers = []
    end = time.monotonic() + 2
    while time.monotonic() < end:
        found = endless.client.state()
        numbers.append(found["number"])
        again = endless.client.state(found["number"])
        assert ("training" in again) == (again["number"] != found["number"])
    assert numbers == sorted(numbers) and numbers[-1] - numbers[0] <= 3 < len(numbers)


# --- what it does -----------------------------------------------------------------------------


def test_a_whole_life(tmp_path: Path) -> None:
    """Paused, gone on with, stopped; served until Ctrl-C, with the script's exit code."""
    served = serve(tmp_path, "1000000", "--other")
    client = served.client
    assert client.post("pause").json["status"] in ("pausing", "paused")
    until(lambda: client.state()["status"] == "paused")
    still = [
        (s["epoch"], s["step"]) for s in (client.state(), time.sleep(1.5), client.state()) if s
    ]
    assert still[0] == still[1]
    assert client.post("resume").json == {"status": "training"}
    until(
        lambda: (s := client.state())["status"] == "training" and (s["epoch"], s["step"]) > still[0]
    )

    client.post("pause")
    until(lambda: client.state()["status"] == "paused")
    assert client.post("stop").status == 200  # which goes on to the end of the epoch
    ended = until(lambda: (s := client.state())["status"] == "ended" and s)
    assert ended["step"] == 0 and ended["training"]["epochs"][-1] == ended["epoch"]
    until(lambda: any("stays until Ctrl-C" in line for line in served.said))
    assert client.state()["roofline"]["rows"] and client.get("1/").status == 200
    assert client.post("pause").status == client.post("stop").status == 409
    assert served.process.poll() is None
    assert served.interrupt() == 7
    assert served.process.stdout is not None
    assert served.process.stdout.read() == "arguments 1000000 --other\ntrained\n"


@pytest.mark.parametrize("paused", [False, True])
def test_ctrl_c_ends_a_training(tmp_path: Path, paused: bool) -> None:
    served = serve(tmp_path, "1000000")
    if paused:
        served.client.post("pause")
        until(lambda: served.client.state()["status"] == "paused")
    assert served.interrupt() == 130


# --- whom it answers --------------------------------------------------------------------------

EVIL = "http://evil.example"
KEY = {"X-Graphc-Token": "{t}"}
HOSTILE: list[tuple[str, int, str, str, dict[str, str]]] = [
    # why, status, method, path ({t} the token, {p} the port), headers
    ("a name that was made to resolve here", 403, "GET", "/{t}/1/", {"Host": "evil.example:{p}"}),
    ("its beginning is ours", 403, "GET", "/{t}/1/", {"Host": "127.0.0.1.evil.example:{p}"}),
    ("another port", 403, "GET", "/{t}/1/", {"Host": "127.0.0.1:1"}),
    ("no port", 403, "GET", "/{t}/1/", {"Host": "localhost"}),
    ("an empty host", 403, "GET", "/{t}/1/", {"Host": ""}),
    ("the address of the network", 403, "GET", "/{t}/1/", {"Host": "0.0.0.0:{p}"}),
    ("a foreign origin", 403, "GET", "/{t}/1/state", {"Origin": EVIL}),
    ("a foreign origin that knows all", 403, "POST", "/{t}/1/pause", KEY | {"Origin": EVIL}),
    ("an origin without a name", 403, "POST", "/{t}/1/pause", KEY | {"Origin": "null"}),
    ("another scheme", 403, "GET", "/{t}/1/", {"Origin": "https://127.0.0.1:{p}"}),
    ("another server of this machine", 403, "GET", "/{t}/1/", {"Origin": "http://127.0.0.1:1"}),
    ("asked first whether it may", 403, "OPTIONS", "/{t}/1/pause", {"Origin": EVIL}),
    ("no token", 403, "GET", "/", {}),
    ("no token, but the header", 403, "POST", "/1/pause", KEY),
    ("a wrong token", 403, "GET", "/" + "x" * 32 + "/1/", {}),
    ("half of the token", 403, "GET", "/{h}/1/", {}),
    ("a token that is no ASCII", 403, "GET", "/%E2%98%83/1/", {}),
    ("the token in the query", 403, "GET", "/1/state?token={t}", {}),
    ("changing without the header", 403, "POST", "/{t}/1/pause", {}),
    ("changing with a wrong header", 403, "POST", "/{t}/1/stop", {"X-Graphc-Token": "x" * 32}),
    ("up to the root", 404, "GET", "/{t}/../../../../etc/passwd", {}),
    ("up to the root, disguised", 404, "GET", "/{t}/1/%2e%2e/%2e%2e/etc/passwd", {}),
    ("up to the root in one part", 404, "GET", "/{t}/1/..%2f..%2fetc%2fpasswd", {}),
    ("up before the token", 403, "GET", "/../../etc/passwd", {}),
    ("an absolute path", 403, "GET", "//etc/passwd", {}),
    ("a file as an address", 403, "GET", "file:///etc/passwd", {}),
    ("a file of the page", 404, "GET", "/{t}/base.js", {}),
    ("a training that is not", 404, "GET", "/{t}/99/state", {}),
    ("no number", 404, "GET", "/{t}/-1/state", {}),
    ("a number without end", 404, "GET", "/{t}/" + "9" * 5000 + "/state", {}),
    ("a digit of another script", 404, "GET", "/{t}/%C2%B2/state", {}),
    ("a large body", 413, "POST", "/{t}/1/pause", KEY | {"Content-Length": "9999999"}),
    ("a body of no length", 400, "POST", "/{t}/1/pause", KEY | {"Content-Length": "-1"}),
    ("large headers", 431, "GET", "/{t}/1/", {"Cookie": "x" * 20000}),
    ("changing by following a link", 405, "GET", "/{t}/1/pause", KEY),
    ("HEAD", 405, "HEAD", "/{t}/1/", {}),
    ("OPTIONS", 405, "OPTIONS", "/{t}/1/", {}),
    ("TRACE", 405, "TRACE", "/{t}/1/", {}),
    ("PUT", 405, "PUT", "/{t}/1/", {}),
    ("DELETE", 405, "DELETE", "/{t}/1/state", {}),
    ("POST to a page", 405, "POST", "/{t}/1/", KEY),
]  # fmt: skip


@pytest.mark.parametrize(
    ("status", "method", "path", "headers"),
    [case[1:] for case in HOSTILE],
    ids=[case[0].replace(" ", "-") for case in HOSTILE],
)
def test_hostile_requests(
    endless: Served, status: int, method: str, path: str, headers: dict[str, str]
) -> None:
    client = endless.client
    names = {"t": client.token, "h": client.token[:16], "p": str(client.port)}
    filled = {name: value.format(**names) for name, value in headers.items()}
    reply = client.ask(method, path.format(**names), **filled)
    assert reply.status == status, reply.body
    assert client.token not in reply.body and "root:" not in reply.body
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]
    if status in (403, 404, 405):
        assert reply.headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Cache-Control"] == "no-store"
        assert reply.headers["Cross-Origin-Opener-Policy"] == "same-origin"
    if status == 405:
        assert reply.headers["Allow"] == ("POST" if path.endswith("pause") else "GET")
    state = client.state()
    assert (state["status"], state["stopping"]) == ("training", False)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_names_of_the_loopback_are_answered(endless: Served, host: str) -> None:
    client, place = endless.client, f"{host}:{endless.client.port}"
    reply = client.ask("GET", f"/{client.token}/1/state", Host=place, Origin=f"http://{place}")
    assert reply.status == 200


def test_no_host_and_two_hosts(endless: Served) -> None:
    """Requests that http.client would not make."""
    client = endless.client
    ours = f"Host: 127.0.0.1:{client.port}\r\n"
    for lines in ("", f"{ours}Host: evil.example\r\n"):
        text = f"GET /{client.token}/1/state HTTP/1.1\r\n{lines}Connection: close\r\n\r\n"
        assert raw(client.port, text).startswith("HTTP/1.1 403 ")
    chunks = f"POST /{client.token}/1/pause HTTP/1.1\r\n{ours}X-Graphc-Token: {client.token}\r\n"
    chunks += f"Transfer-Encoding: chunked\r\n\r\n{2 * BODY:x}\r\n{'x' * 2 * BODY}\r\n0\r\n\r\n"
    assert raw(client.port, chunks).startswith("HTTP/1.1 413 ")
    assert client.state()["status"] == "training"


def raw(port: int, text: str) -> str:
    """What a server answers to a text."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.sendall(text.encode())
        return connection.recv(65536).decode()


def test_it_listens_on_the_loopback_alone(endless: Served) -> None:
    port = f"{endless.client.port:04X}"
    files = [Path("/proc/net") / name for name in ("tcp", "tcp6")]
    rows = [line.split() for f in files if f.exists() for line in f.read_text().splitlines()[1:]]
    listening = [row[1] for row in rows if row[3] == "0A" and row[1].endswith(f":{port}")]
    assert listening == [f"0100007F:{port}"]


def test_many_slow_connections_stop_no_training(endless: Served) -> None:
    client = endless.client
    before = client.state()
    held = []
    for _ in range(CONNECTIONS + 20):
        connection = socket.create_connection(("127.0.0.1", client.port), PATIENCE)
        connection.sendall(f"GET /{client.token}/1/state HTTP/1.1\r\nHost: ".encode())
        held.append(connection)
    time.sleep(2)
    for connection in held:
        connection.close()
    after = client.state()
    assert after["status"] == "training" and after["epoch"] > before["epoch"] + 1


# --- from Python ------------------------------------------------------------------------------

X = np.random.default_rng(0).standard_normal((60, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int64)


def small() -> graphc.Trainer:
    return graphc.Trainer(
        nn.Sequential(nn.Linear(4, 2)), loss="cross_entropy", optimizer=optim.SGD(0.1)
    )


def test_several_trainings_are_listed() -> None:
    with graphc.Live() as live:
        client = Client(live.address)
        assert "Nothing trains yet" in client.get("").body
        assert client.get("").headers["Refresh"] == "1"
        trainers = [small(), small()]
        for trainer in trainers:
            trainer.fit(X, Y, epochs=2, verbose=0, callbacks=[live])
        trainers[0].fit(X, Y, epochs=1, verbose=0, callbacks=[live])
        listed = client.get("").body
        assert [f'href="/{client.token}/{n}/"' in listed for n in (1, 2, 3)] == [True, True, False]
        assert "training 1: ended, 3 epochs" in listed
        assert client.state()["training"]["epochs"] == [1, 2, 3]
        assert all(not trainer.step.program.watches for trainer in trainers if trainer.step)
    with pytest.raises(ConnectionRefusedError):
        client.get("")
    live.close()


def test_old_trainings_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_, "MOST", 2)
    with graphc.Live() as live, watching(live):
        for _ in range(4):
            small().fit(X, Y, verbose=0)
        assert list(live.runs) == [3, 4]


def test_a_training_that_breaks_off() -> None:
    class Broken(Callback):
        def on_steps_end(self, trainer: TrainerLike, made: Steps) -> None:
            raise RuntimeError

    trainer = small()
    with graphc.Live() as live:
        with pytest.raises(RuntimeError):
            trainer.fit(X, Y, verbose=0, callbacks=[live, Broken()])
        assert Client(live.address).state()["status"] == "broken off"
        assert trainer.step is not None and not trainer.step.program.watches


def test_closing_lets_a_paused_training_go_on() -> None:
    trainer, live = small(), graphc.Live()
    thread = threading.Thread(
        target=lambda: trainer.fit(X, Y, epochs=10**9, verbose=0, callbacks=[live])
    )
    thread.start()
    client = Client(live.address)
    until(lambda: client.get("").status == 303)
    client.post("pause")
    until(lambda: client.state()["status"] == "paused")
    client.post("stop")
    client.post("pause")
    live.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_without_native_code_there_are_no_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRAPHC_REFERENCE", "1")
    with graphc.Live() as live:
        small().fit(X, Y, verbose=0, callbacks=[live])
        found = Client(live.address).state()
        assert "no native code" in found["roofline"]["missing"]
        assert found["training"]["epochs"] == [1]


def test_it_does_not_change_what_is_trained() -> None:
    """The bits are those of a training that nobody looks at, gradients included."""
    graphc.seed(3)
    watched = small()
    graphc.seed(3)
    alone = small()

    class UntilSeen(Callback):
        def on_epoch_end(self, trainer: TrainerLike) -> None:
            trainer.stop = bool(live.runs[1].gradients[0])

    def looks() -> None:
        until(lambda: client.get("1/").status == 200)
        until(lambda: client.state()["training"]["gradients"])

    with graphc.Live() as live:
        client, thread = Client(live.address), threading.Thread(target=looks)
        thread.start()
        watched.fit(X, Y, batch_size=7, epochs=10**9, verbose=0, callbacks=[live, UntilSeen()])
        thread.join()
    alone.fit(X, Y, batch_size=7, epochs=watched.epoch, verbose=0)
    assert watched.history == alone.history
    for name, value in alone.model.state_dict().items():
        np.testing.assert_array_equal(watched.model.state_dict()[name], value)


def test_what_takes_long_is_done_less_often() -> None:
    now = iter([0.0, 0.1])
    turn = Turn(lambda: next(now))
    assert turn.come
    with turn.taken():
        pass
    assert not turn.come and turn.due == pytest.approx(time.monotonic() + 20, abs=1)


def test_the_curve_within_an_epoch_has_a_bounded_number_of_points() -> None:
    within = Within()
    for step in range(5 * POINTS):
        within.append(step, {"loss": float("nan") if step % 2 else 0.5})
    assert len(within.steps) < POINTS and within.steps[-1] == 5 * POINTS - 1
    assert within.apart > 1 and within.steps == sorted(within.steps)
    assert None in within.described()["values"]["loss"]


# --- refusals ---------------------------------------------------------------------------------


def test_a_port_in_use(tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text("raise SystemExit('it ran')")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port} of 127.0.0.1: it is in use"):
            graphc.Live(port)
        outcome = piped(["explore", "--serve", "--port", str(port), str(path)])
    assert outcome.code == 2 and outcome.stdout == ""
    assert outcome.stderr == (
        f"Error: cannot listen on port {port} of 127.0.0.1: it is in use; choose another port, or "
        "0 for any that is free\n"
    )


def test_a_missing_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "script.py"
    path.write_text("raise SystemExit('it ran')")
    monkeypatch.setitem(sys.modules, "waitress.server", None)
    with pytest.raises(InputError):
        graphc.Live()
    outcome = CliRunner().invoke(main, ["explore", "--serve", str(path)])
    assert outcome.exit_code == 2
    assert outcome.stderr == "Error: a live page needs waitress: pip install 'graphc[serve]'\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--serve", "{f}:trainer"], "--serve runs a whole file: give {f}, without a name"),
        (["--serve", "missing.py"], "no file 'missing.py'"),
        (["--serve", "{f}", "--html", "a.html"], "--html says how a page is written"),
        (["--serve", "{f}", "--train"], "--train says how a page is written"),
        (["--serve", "{f}", "--port", "70000"], "70000 is not in the range"),
        (["{f}:model", "--port", "1"], "--port goes with --serve"),
        (["{f}:model", "--", "1"], "'1': only a script that --serve runs has arguments"),
    ],
)
def test_refusals(tmp_path: Path, arguments: list[str], said: str) -> None:
    path = tmp_path / "net.py"
    path.write_text(SCRIPT)
    outcome = CliRunner().invoke(main, ["explore", *(a.format(f=path) for a in arguments)])
    assert outcome.exit_code == 2 and outcome.stdout == "" and "Traceback" not in outcome.stderr
    assert said.format(f=path) in " ".join(outcome.stderr.split())


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("print(__name__)", 0, "live: "),
        ("import sys; sys.exit(3)", 3, "live: "),
        ("raise SystemExit('no data')", 1, "no data"),
        ("def f():\n    return 1 / 0\nf()", 1, 'script.py", line 2, in f'),
        ("import graphc\ngraphc.parameter('w')", 1, "InputError: parameter 'w' needs a shape"),
        ("def f(:", 1, "SyntaxError"),
    ],
)
def test_a_script_that_trains_nothing(tmp_path: Path, text: str, code: int, said: str) -> None:
    """It ends as it does without graphc: with its exit code, and a traceback of its own frames."""
    path = tmp_path / "script.py"
    path.write_text(text)
    outcome = CliRunner().invoke(main, ["explore", "--serve", str(path)])
    assert outcome.exit_code == code and said in outcome.stderr and "stays" not in outcome.stderr
    assert outcome.stdout == ("__main__\n" if "print" in text else "")
    assert "runpy" not in outcome.stderr and f"graphc{os.sep}cli" not in outcome.stderr


# --- in a browser -----------------------------------------------------------------------------


def test_the_page_follows_in_a_browser(tmp_path: Path) -> None:
    """Panes are renewed, buttons work, and the console stays silent."""
    program = chromium()
    from playwright.sync_api import sync_playwright

    served = serve(tmp_path, "1000000")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(PATIENCE * 1e3)
        problems: list[str] = []
        foreign: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda request: (
                request.url.startswith(served.client.address) or foreign.append(request.url)
            ),
        )
        page.goto(served.client.address)
        page.wait_for_selector("html[data-ready]")
        bar, cards = page.locator("#live"), page.locator("#panel-training .card")
        cards.locator(".bar.second").first.wait_for()  # of a gradient
        assert cards.count() == 4
        drawing = page.locator("#panel-training path.curve").first
        path = drawing.get_attribute("d")
        until(lambda: drawing.get_attribute("d") != path)

        page.click("#tab-roofline")
        page.locator("#panel-roofline th:has-text('time')").focus()
        page.keyboard.press("Enter")
        said = page.locator("#panel-roofline .wide .quiet").last
        text = said.inner_text()
        until(lambda: said.inner_text() != text)
        assert page.locator("#panel-roofline th:focus").inner_text() == "time"
        rows = page.locator("#panel-roofline tbody tr")
        shares = [float(row.locator("td").nth(3).inner_text().split()[0]) for row in rows.all()]
        assert len(shares) > 2 and shares == sorted(shares, reverse=True)  # as it was sorted

        bar.get_by_text("Pause").click()
        page.wait_for_selector("#live[data-status=paused]")
        bar.get_by_text("Resume").click()
        page.wait_for_selector("#live[data-status=training]")
        bar.get_by_text("Stop after this epoch").click()
        page.wait_for_selector("#live[data-status=ended]")
        assert not bar.get_by_role("button").count()
        assert problems == [] and foreign == []
        assert served.interrupt() == 7
        page.wait_for_selector("#live[data-status=gone]")
        browser.close()
