// What the pages of a site do beyond plain HTML. Every page works without it.
"use strict";

// A form that is complete shows its success message.
document.addEventListener("submit", (event) => {
  const done = event.target.querySelector("output[data-message]");
  if (!done) return;
  event.preventDefault();
  done.textContent = done.dataset.message;
  event.target.reset();
});

// A new entry takes the old message away.
document.addEventListener("input", (event) => {
  const done = event.target.form && event.target.form.querySelector("output[data-message]");
  if (done) done.textContent = "";
});

// The page of the address is the current one of its pagination.
for (const nav of document.querySelectorAll(".c-Pagination nav")) {
  const links = [...nav.querySelectorAll("li > a:not([rel])")];
  const here = links.find((link) => link.href === location.href);
  if (!here) continue;
  for (const link of links) link.removeAttribute("aria-current");
  here.setAttribute("aria-current", "page");
}
