
"use strict";
const errors = [];
addEventListener("error", event => errors.push(String(event.message)));
addEventListener("securitypolicyviolation", event => errors.push(`blocked: ${event.violatedDirective}`));

const frames = [...document.querySelectorAll(".frame")];
const scrubber = document.getElementById("scrubber");
const where = document.getElementById("where");
const help = document.getElementById("help");
const target = Math.max(0, frames.findIndex(frame => "target" in frame.dataset));
let at = target;

function show(index) {
  frames[at].hidden = true;
  at = Math.min(Math.max(index, 0), frames.length - 1);
  frames[at].hidden = false;
  const { name, state } = frames[at].dataset;
  scrubber.value = at;
  scrubber.setAttribute("aria-valuetext", `${name}, ${state}`);
  where.textContent = name;
}

const moves = {
  first: () => show(0),
  back: () => show(at - 1),
  on: () => show(at + 1),
  last: () => show(frames.length - 1),
  target: () => show(target),
};
const keys = { ArrowLeft: "back", ArrowRight: "on", Home: "first", End: "last", d: "target", D: "target" };

function press(event) {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === "?") {
    event.preventDefault();
    if (help.open) help.close(); else help.showModal();
  } else if (event.key in keys && !help.open) {
    event.preventDefault();
    moves[keys[event.key]]();
  }
}

// A link to page.html#step-42 opens that step.
function follow() {
  const asked = /^#(step-\d+)$/.exec(location.hash)?.[1].replace("-", " ");
  const index = frames.findIndex(frame => frame.dataset.name.replaceAll(",", "").startsWith(`${asked} `));
  if (index >= 0) show(index);
}

if (frames.length > 0) {
  document.querySelector("nav").hidden = false;
  document.addEventListener("keydown", press);
  scrubber.addEventListener("input", () => show(Number(scrubber.value)));
  for (const button of document.querySelectorAll("[data-go]")) {
    button.addEventListener("click", moves[button.dataset.go]);
  }
  document.getElementById("ask").addEventListener("click", () => help.showModal());
  addEventListener("hashchange", follow);
  follow();
  if (location.hash === "#selftest") addEventListener("load", selftest);
}

// The project's tests open the page in a browser with #selftest and read what happened from the element that it adds.
function selftest() {
  const seen = [];
  const note = what => {
    const shown = frames.filter(frame => frame.checkVisibility());
    seen.push([what, shown.length, shown[0]?.dataset.name, where.textContent, Number(scrubber.value)]);
  };
  const type = key => {
    (document.activeElement ?? document.body).dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
    note(key);
  };
  note("load");
  for (const key of ["ArrowLeft", "ArrowRight", "Home", "ArrowLeft", "End", "ArrowRight", "d"]) type(key);
  scrubber.focus();
  for (const key of ["Home", "ArrowRight", "d"]) type(key);
  scrubber.value = 0;
  scrubber.dispatchEvent(new Event("input", { bubbles: true }));
  note("scrub");
  for (const button of document.querySelectorAll("[data-go]")) {
    button.click();
    note(button.dataset.go);
  }
  const opened = (type("?"), help.open);
  type("Home");
  const closed = (type("?"), !help.open);
  const focusable = [...document.querySelectorAll("button, input, [tabindex]")];
  const unnamed = focusable.filter(it => !(it.getAttribute("aria-label") ?? it.textContent).trim()).length;
  const width = innerWidth;
  const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
  const loaded = performance.getEntriesByType("resource").map(entry => entry.name);
  const result = document.createElement("pre");
  result.id = "selftest";
  result.textContent = JSON.stringify({ frames: frames.length, target, seen, opened, closed, unnamed, width, wide, loaded, errors });
  document.body.append(result);
}
