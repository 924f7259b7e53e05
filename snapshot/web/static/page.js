// What pages can do with a script. Without it they do the same by being loaded anew.
"use strict";

// Live: when the server says that something has changed, the page is fetched again, and those of
// its parts that are marked `data-live` are exchanged.
const where = document.body.dataset.events;
const toggle = document.getElementById("live");
let source = null;
let loading = false;
let again = false;

function wanted() {
  return sessionStorage.getItem("live") !== "no";
}

async function refresh() {
  if (loading) { again = true; return; }
  loading = true;
  try {
    do {
      again = false;
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok) exchange(new DOMParser().parseFromString(await answer.text(), "text/html"));
    } while (again);
  } catch {
    // The server is gone, or comes back: the source of events tries again by itself.
  } finally {
    loading = false;
  }
}

function exchange(fresh) {
  const gone = document.querySelector("[data-live]") && !fresh.querySelector("[data-live]");
  if (gone) { location.reload(); return; }
  // What is read out stays, and is read out if it says something else.
  for (const each of document.querySelectorAll("[role=status][id]")) {
    const other = fresh.getElementById(each.id);
    if (!other || other.textContent === each.textContent) continue;
    each.className = other.className;
    each.textContent = other.textContent;
  }
  for (const part of document.querySelectorAll("[data-live]")) {
    const other = fresh.getElementById(part.id);
    if (!other || other.outerHTML === part.dataset.was) continue;
    if (busy(part)) { again = false; continue; }
    const was = other.outerHTML;
    const focused = part.contains(document.activeElement) ? document.activeElement.id : "";
    const open = [...part.querySelectorAll("details[open][id]")].map((each) => each.id);
    const scrolled = [...part.querySelectorAll("[tabindex='0'][id]")].map((each) => [each.id, each.scrollTop]);
    other.dataset.was = was;
    part.replaceWith(other);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    for (const [id, top] of scrolled) { const each = document.getElementById(id); if (each) each.scrollTop = top; }
    if (focused) document.getElementById(focused)?.focus();
    if (other.hasAttribute("data-over")) stop();
    if (other.dataset.next) location.replace(other.dataset.next);
  }
}

// Nothing is taken from under somebody's hands.
function busy(part) {
  if (part.querySelector("input:checked")) return true;
  const active = document.activeElement;
  if (part.contains(active) && active.matches("input, select, textarea")) return true;
  const selection = document.getSelection();
  return selection && !selection.isCollapsed && part.contains(selection.anchorNode);
}

function start() {
  if (source || !where || !wanted() || document.hidden) return;
  if (document.querySelector("[data-over]")) return;
  source = new EventSource(where);
  source.onmessage = refresh;
  const lost = document.getElementById("lost");
  source.onopen = () => { lost.hidden = true; };
  source.onerror = () => { lost.hidden = false; };
  source.addEventListener("gone", () => {
    stop();
    document.getElementById("gone")?.removeAttribute("hidden");
  });
}

function stop() {
  source?.close();
  source = null;
}

if (where && toggle) {
  toggle.hidden = false;
  const show = () => toggle.setAttribute("aria-pressed", String(wanted()));
  toggle.addEventListener("click", () => {
    sessionStorage.setItem("live", wanted() ? "no" : "yes");
    show();
    if (wanted()) start(); else stop();
  });
  show();
  // A browser has few connections to a server: who is not looked at has none.
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  start();
}

// Copy: `data-copy` names the element whose text is copied.
for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    const text = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = text; }, 1500);
  });
}

// All: `data-all` names the check boxes that follow this one.
document.addEventListener("change", (event) => {
  const name = event.target.dataset?.all;
  if (!name) return;
  for (const each of document.getElementsByName(name)) each.checked = event.target.checked;
});

// `/` goes to the search, as on many sites.
document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.matches("input, select, textarea")) return;
  const search = document.querySelector("input[type=search]");
  if (search) { event.preventDefault(); search.focus(); search.select(); }
});
