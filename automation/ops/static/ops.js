"use strict";
// What moves on a page is fetched anew, as HTML, and put in its place. Without this script a reload does the same.

const live = document.getElementById("live");
const log = document.querySelector("[data-log]");
const opened = (part) => new Set([...part.querySelectorAll("details[open][data-keep]")].map((one) => one.dataset.keep));

// Replace the content of `place`, if it is another one: what was unfolded stays so, what has the focus keeps it, and
// what was scrolled stays where it was.
async function renew(place, address) {
  const answer = await fetch(address, { headers: { "X-Part": "1" }, credentials: "same-origin" });
  if (answer.status === 401) location.reload();
  if (!answer.ok) return;
  const html = await answer.text();
  if (place.dataset.seen === html) return;
  place.dataset.seen = html;
  const kept = opened(place);
  const focused = place.contains(document.activeElement) ? pathOf(document.activeElement, place) : null;
  const scrolled = [...place.querySelectorAll(".scroll")].map((one) => [one.scrollTop, one.scrollLeft, isAtEnd(one)]);
  place.innerHTML = html;
  for (const one of place.querySelectorAll("details[data-keep]")) one.open = kept.has(one.dataset.keep);
  place.querySelectorAll(".scroll").forEach((one, number) => {
    const [top, left, atEnd] = scrolled[number] || [0, 0, false];
    one.scrollTop = atEnd && one.matches(".log") ? one.scrollHeight : top;
    one.scrollLeft = left;
  });
  if (focused) {
    const again = focused.reduce((one, number) => one && one.children[number], place);
    if (again) again.focus({ preventScroll: true });
  }
}

const isAtEnd = (one) => one.scrollHeight - one.scrollTop - one.clientHeight < 4;

function pathOf(element, root) {
  const path = [];
  for (let one = element; one !== root; one = one.parentElement) path.unshift([...one.parentElement.children].indexOf(one));
  return path;
}

// One request at a time, and one more if it was wanted meanwhile.
function renewer(place, address) {
  let busy = false;
  let again = false;
  return async function renewing() {
    if (busy) return void (again = true);
    busy = true;
    try {
      await renew(place, address());
    } catch {
      // the service is away for a moment; the next time comes
    }
    busy = false;
    if (again) {
      again = false;
      await renewing();
    }
  };
}

const whileSeen = (work) => () => document.visibilityState === "visible" && work();

if (live) {
  const renewLive = renewer(live, () => live.dataset.live);
  if (live.dataset.every) setInterval(whileSeen(renewLive), Number(live.dataset.every) * 1000);
  if (live.dataset.stream) {
    const renewLog = log ? renewer(log, () => log.dataset.log + filters()) : () => {};
    const renewAll = () => (renewLive(), renewLog());
    const stream = new EventSource(live.dataset.stream);
    const clock = setInterval(whileSeen(renewAll), 2000);
    stream.addEventListener("change", (event) => {
      renewAll();
      const changed = JSON.parse(event.data);
      if ("status" in changed || "waits" in changed || "cancel_requested_at" in changed) renewActs();
    });
    stream.addEventListener("end", () => {
      stream.close();
      clearInterval(clock);
      renewAll();
      renewActs();
    });
  }
}

// Which buttons there are follows from the state. What somebody is writing there is not taken from them.
async function renewActs() {
  const acts = document.getElementById("acts");
  const answer = await fetch(location.pathname, { credentials: "same-origin" });
  if (!acts || !answer.ok || acts.contains(document.activeElement)) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  acts.replaceWith(page.getElementById("acts"));
}

const form = document.getElementById("log-filters");
const filters = () => "?" + new URLSearchParams(new FormData(form));

if (form && log) {
  const renewLog = renewer(log, () => log.dataset.log + filters());
  form.addEventListener("change", renewLog);
  form.addEventListener("submit", (event) => (event.preventDefault(), renewLog()));
  const lines = log.querySelector(".log");
  if (lines) lines.scrollTop = lines.scrollHeight;
}
