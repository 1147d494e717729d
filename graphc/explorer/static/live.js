// A training that runs: what is new of it, once a second while the page is seen, and how it stands.

const SAID = {
  training: "training", pausing: "pausing after these steps", paused: "paused", ended: "the training has ended",
  "broken off": "the training was broken off", gone: "the server is gone: nothing here is renewed any more",
};

/** Follow the training at an address, whose first part is the token. */
function follow(address) {
  const token = address.split("/")[1];
  const drawn = { training: 0, roofline: 0 };
  let number = 0;
  let failures = 0;
  let asking = false;
  let timer = null;
  const dot = make("span.dot", { "aria-hidden": "true" }, "●");
  const word = make("b", { role: "status" });
  const where = make("span.quiet.number");
  const pause = make("button", { type: "button", onclick: () => send(pause.dataset.what) });
  const stop = make("button", { type: "button", onclick: () => send("stop") });
  const bar = make("div", { id: "live" }, dot, word, where, pause, stop);
  $("about").after(bar);

  function says(state) {
    const running = ["training", "pausing", "paused"].includes(state.status);
    bar.dataset.status = state.status;
    if (word.textContent !== SAID[state.status]) word.textContent = SAID[state.status];
    const step = state.step ? `, step ${grouped(state.step)} of ${grouped(state.steps)}` : "";
    where.textContent = state.epoch === undefined ? where.textContent : `epoch ${grouped(state.epoch)}${step}`;
    pause.dataset.what = state.status === "training" ? "pause" : "resume";
    pause.textContent = state.status === "training" ? "Pause" : "Resume";
    stop.textContent = state.stopping ? "Stops after this epoch" : "Stop after this epoch";
    stop.disabled = Boolean(state.stopping);
    pause.hidden = stop.hidden = !running;
  }

  /** Draw the pane that is seen anew, where there is something newer; the others when they are. */
  function renew() {
    for (const name of Object.keys(drawn)) {
      const panel = panels.shown[name];
      if (panel.hidden || drawn[name] === number) continue;
      drawn[name] = number;
      const focusable = () => [...panel.querySelectorAll("[tabindex]")];
      const at = focusable().indexOf(document.activeElement);
      panel.renew();
      if (at >= 0) focusable()[at]?.focus({ preventScroll: true });
    }
  }

  async function ask() {
    clearTimeout(timer);
    if (asking || document.hidden) return;
    asking = true;
    try {
      const answer = await fetch(`${address}state?since=${number}`);
      if (!answer.ok) throw new Error(answer.statusText);
      const state = await answer.json();
      failures = 0;
      if (state.training) {
        ({ training: report.training, roofline: report.roofline, number } = state);
      }
      says(state);
      renew();
    } catch {
      failures += 1;
    }
    asking = false;
    if (failures < 3) timer = setTimeout(ask, 1000);
    else says({ status: "gone" });
  }

  async function send(what) {
    try {
      await fetch(address + what, { method: "POST", headers: { "X-Graphc-Token": token } });
    } catch {
      return; // the next question finds out
    }
    ask();
  }

  document.addEventListener("visibilitychange", ask);
  $("tabs").addEventListener("click", renew);
  panels.open("training");
  ask();
}

if (report.live) follow(report.live);
