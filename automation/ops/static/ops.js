"use strict";
// What moves on a page is fetched anew, as HTML, and put in its place. Without this script a reload does the same.

const live = document.getElementById("live");
const log = document.querySelector("[data-log]");
const acts = document.querySelector("[data-acts]");
const form = document.getElementById("log-filters");
const filters = () => "?" + new URLSearchParams(new FormData(form));
const away = document.getElementById("away");
const opened = (part) => new Set([...part.querySelectorAll("details[open][data-keep]")].map((one) => one.dataset.keep));

// Keep what is shown in `place` as the server has it; what is made here does so once, and says whether it is so then.
// What was unfolded stays so, what has the focus keeps it, and what was scrolled stays where it was.
// One request at a time, and one more if it was wanted meanwhile.
function renewer(place, address, mayReplace = () => true) {
  let seen = null;
  let busy = false;
  let again = false;
  async function renew() {
    const answer = await fetch(address(), { headers: { "X-Part": "1" }, credentials: "same-origin" }).catch(() => null);
    if (answer?.status === 401) location.reload();
    away.hidden = Boolean(answer?.ok); // or what stands here would be taken for what is now
    if (!answer?.ok) return false;
    const html = await answer.text();
    if (html === seen) return true;
    if (!mayReplace()) return false;
    seen = html;
    replace(place, html);
    return true;
  }
  return async function renewing() {
    if (busy) {
      again = true;
      return false;
    }
    busy = true;
    const done = await renew().catch(() => false); // it broke off; the next time comes
    busy = false;
    if (!again) return done;
    again = false;
    return renewing();
  };
}

function replace(place, html) {
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

// What was done is said once, and not again after a reload.
const here = new URL(location);
if (here.searchParams.has("done")) {
  here.searchParams.delete("done");
  history.replaceState(null, "", here);
}

const whileSeen = (work) => () => document.visibilityState === "visible" && work();

const renewLog = log && renewer(log, () => log.dataset.log + filters());

if (live) {
  const renewLive = renewer(live, () => live.dataset.live);
  if (live.dataset.every) setInterval(whileSeen(renewLive), Number(live.dataset.every) * 1000);
  if (live.dataset.stream) follow(live.dataset.stream, [renewLive]);
}

// The stream only says when to look. The page may be older than its snapshot, so that counts as news too; and the clock
// looks for what does not show in the execution itself, and once it is over until everything here says so.
function follow(address, parts) {
  if (log) parts.push(renewLog);
  // Which buttons there are follows from the state. What somebody is writing there is not taken from them.
  if (acts) parts.push(renewer(acts, () => acts.dataset.acts, () => !acts.contains(document.activeElement)));
  let isOver = false;
  const renewAll = async () => {
    const wasOver = isOver;
    const done = await Promise.all(parts.map((renewing) => renewing()));
    if (wasOver && done.every(Boolean)) clearInterval(clock);
  };
  const clock = setInterval(whileSeen(renewAll), 2000);
  const stream = new EventSource(address);
  for (const name of ["snapshot", "change"]) stream.addEventListener(name, renewAll);
  stream.addEventListener("end", () => {
    stream.close();
    isOver = true;
    renewAll();
  });
}

if (form && log) {
  form.addEventListener("change", renewLog);
  form.addEventListener("submit", (event) => (event.preventDefault(), renewLog()));
  const lines = log.querySelector(".log");
  if (lines) lines.scrollTop = lines.scrollHeight;
}
