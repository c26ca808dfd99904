// Parts of a page: read again every few seconds while something trains, or once where they take long.
// What the server sends is HTML in which every value is escaped.
"use strict";

const SLOWEST = 30; // seconds, while the service does not answer

async function read(element) {
  const address = new URL(location.href);
  address.searchParams.set("part", element.dataset.part);
  const answer = await fetch(address, { headers: { Accept: "text/html" } });
  const text = await answer.text();
  if (element.dataset.shown !== text && (answer.ok || !element.dataset.every)) {
    show(element, text);
  }
  if (!answer.ok) {
    throw new Error(words(text) || `${answer.status} ${answer.statusText}`);
  }
}

// What an error's part says, as text.
function words(text) {
  const lines = new DOMParser().parseFromString(text, "text/html").body.textContent.split("\n");
  return lines.map((line) => line.trim()).filter(Boolean).join(" ");
}

// Whoever works with the keyboard stays where they are; what was folded out stays so.
function show(element, text) {
  const links = [...element.querySelectorAll("a, summary, [tabindex]")];
  const at = links.indexOf(document.activeElement);
  const open = [...element.querySelectorAll("details")].map((one) => one.open);
  const scrolled = [...element.querySelectorAll(".wide")].map((one) => one.scrollLeft);
  element.innerHTML = text;
  element.dataset.shown = text;
  element.querySelectorAll("details").forEach((one, i) => { if (i in open) one.open = open[i]; });
  element.querySelectorAll(".wide").forEach((one, i) => { one.scrollLeft = scrolled[i] ?? 0; });
  if (at >= 0) {
    element.querySelectorAll("a, summary, [tabindex]")[at]?.focus({ preventScroll: true });
  }
}

async function follow(element) {
  const every = Number(element.dataset.every);
  let rest = every;
  for (;;) {
    await new Promise((done) => setTimeout(done, 1000 * rest));
    if (document.hidden) continue;
    try {
      await read(element);
      say("");
      rest = every;
    } catch (error) {
      say(`Not up to date: ${error.message}`);
      rest = Math.min(2 * rest, SLOWEST);
    }
    if (element.querySelector("[data-ended]")) {
      const then = document.querySelector(`[data-part="${element.dataset.then}"]`);
      if (then) await once(then);
      return;
    }
  }
}

function once(element) {
  return read(element).catch((error) => say(`Not complete: ${error.message}`));
}

function say(text) {
  const lost = document.getElementById("lost");
  if (lost.textContent !== text) lost.textContent = text;
}

document.querySelectorAll("[data-every]").forEach(follow);
document.querySelectorAll("[data-later]").forEach(once);
