"use strict";
// The tick, the key, the chart and the keyboard. What is shown is HTML from the worker.

const TICK_MS = 2000;
const byId = (id) => document.getElementById(id);
const view = byId("view");
const search = byId("search");
const picker = byId("organization");

let key = keyFromAddress() || sessionStorage.getItem("key");
let goodAt = Date.now();
let failure = "";
let said = "";
let picking = false;
let asked = null;
let askedAt = 0;

function keyFromAddress() {
  const given = new URLSearchParams(location.hash.slice(1)).get("key");
  if (given) {
    sessionStorage.setItem("key", given);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return given;
}
const authorized = () => (key ? { Authorization: `Bearer ${key}` } : {});

// The view
function aim() {
  const path = location.pathname === "/" ? "" : location.pathname;
  view.setAttribute("hx-get", `/page/view${path}${location.search}`);
}

function changeAddress(change) {
  const asked = { ...Object.fromEntries(new URLSearchParams(location.search)), ...change };
  const query = new URLSearchParams(Object.entries(asked).filter(([, value]) => value));
  history.replaceState(null, "", location.pathname + (query.size ? `?${query}` : ""));
  aim();
  show();
}

const show = () => htmx.trigger(view, "tick");
const isPaused = () => byId("pause").getAttribute("aria-pressed") === "true";
const HELD = "dialog[open], #view [data-once], #view :is(input, select, textarea):is(:focus, :checked), #key-form:not([hidden])";

/** Ask again, but never before the last answer has come: a slow view would never show. */
function tick() {
  const waiting = asked && Date.now() - askedAt;
  if (waiting > 3000) bad("The worker has not answered yet.");
  if (waiting && waiting < 35000) return;
  if (!document.hidden && !isPaused() && !document.querySelector(HELD)) show();
}
/** Say a state once; the clock is never spoken. */
function say(words) {
  if (words !== said) byId("status").textContent = said = words;
}
function showAge() {
  const seconds = Math.round((Date.now() - goodAt) / 1000);
  const old = Boolean(failure) && seconds > 5;
  const at = new Date(goodAt).toLocaleTimeString("en-GB");
  document.body.classList.toggle("silent", old);
  byId("age").textContent = old ? `${failure} Figures of ${at}, ${seconds} s ago.` : isPaused() ? `Paused. Figures of ${at}.` : "";
}
function good() {
  goodAt = Date.now();
  failure = "";
  byId("key-form").hidden = true;
  view.hidden = false;
  byId("sign-out").hidden = !key;
  const state = view.querySelector("[data-status]");
  say(state ? state.textContent : "");
  if (!picking) pickOrganization();
  showAge();
}

const bad = (words) => say((failure = words));
function askForKey() {
  byId("key-wrong").textContent = key ? "This key is not known." : "";
  byId("key-form").hidden = false;
  byId("sign-out").hidden = view.hidden = true;
  say(key ? "This key is not known." : "An API key is needed.");
}

document.addEventListener("htmx:config:request", (event) => {
  Object.assign(event.detail.ctx.request.headers, authorized(), { "Meter-Page": "1" });
  event.detail.ctx.request.cache = "no-store";
  if (event.detail.ctx.sourceElement === view) [asked, askedAt] = [event.detail.ctx, Date.now() - 1];
});
document.addEventListener("htmx:finally:request", (event) => event.detail.ctx === asked && (asked = null));
document.addEventListener("htmx:after:request", (event) => {
  const { ctx } = event.detail;
  const status = ctx.response.status;
  if (status === 401) askForKey();
  else if (status === 429) bad("Too many look at once.");
  else if (status >= 500) bad("The worker cannot answer now.");
  else if (ctx.sourceElement === view) setTimeout(good);
});
document.addEventListener("htmx:error", (event) => {
  if (event.detail.ctx) bad("The worker does not answer.");
});
document.addEventListener("htmx:after:swap", () => {
  view.querySelectorAll("[data-chart]").forEach(draw);
  const reached = view.querySelector("[data-address]");
  if (reached) history.replaceState(null, "", reached.dataset.address);
});
document.addEventListener("htmx:confirm", (event) => {
  event.preventDefault();
  const dialog = byId("question");
  byId("asked").textContent = event.detail.ctx.confirm;
  dialog.returnValue = "";
  dialog.onclose = () => (dialog.returnValue ? event.detail.issueRequest() : event.detail.dropRequest());
  dialog.showModal();
});

// Organizations: a key of all may look at one of them.
async function pickOrganization() {
  picking = true;
  const response = await fetch("/api/page/organizations", { headers: authorized() }).catch(() => null);
  const known = response && response.ok ? (await response.json()).organizations : [];
  byId("organization-label").hidden = known.length < 2;
  const chosen = new URLSearchParams(location.search).get("organization") || "";
  picker.replaceChildren(new Option("all", ""), ...known.map((id) => new Option(id, id)));
  picker.value = chosen;
}

// The chart: its numbers stand in a table beside it.
function draw(place) {
  const table = view.querySelector(`#${place.dataset.chart} table`);
  if (!table || place.firstChild || !place.clientWidth) return;
  const rows = [...table.tBodies[0].rows];
  const numbers = (column) => rows.map((row) => Number(row.cells[column].querySelector("data").value));
  const times = rows.map((row) => Date.parse(row.cells[0].querySelector("time").dateTime) / 1000);
  const names = [...table.tHead.rows[0].cells].slice(1).map((cell) => cell.textContent);
  const style = getComputedStyle(document.body);
  const axis = { stroke: style.color, grid: { stroke: style.getPropertyValue("--line") } };
  const dashes = [[], [8, 4], [2, 4], [12, 4, 2, 4]];
  const series = names.map((label, n) => ({ label, stroke: style.getPropertyValue("--accent"), width: 2, dash: dashes[n % 4] }));
  const data = [times, ...names.map((_, n) => numbers(n + 1))];
  new uPlot({ width: place.clientWidth, height: 240, legend: { show: false }, axes: [axis, axis], series: [{}, ...series] }, data, place);
}

// Buttons and keys
let typing = 0;
search.value = new URLSearchParams(location.search).get("search") || "";
search.addEventListener("input", () => {
  clearTimeout(typing);
  if (location.pathname === "/") typing = setTimeout(() => changeAddress({ search: search.value }), 200);
});
byId("search-form").addEventListener("submit", (event) => {
  event.preventDefault();
  if (location.pathname === "/") changeAddress({ search: search.value });
  else location.assign(`/?${new URLSearchParams({ search: search.value })}`);
});
// Sorting keeps the place on the page; every other link leads to a view of its own.
view.addEventListener("click", (event) => {
  const link = event.target.closest("th a");
  if (!link || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  changeAddress(Object.fromEntries(new URLSearchParams(link.search)));
});
picker.addEventListener("change", () => changeAddress({ organization: picker.value }));
byId("pause").addEventListener("click", (event) => {
  event.target.setAttribute("aria-pressed", String(!isPaused()));
  showAge();
});
byId("sign-out").addEventListener("click", () => {
  sessionStorage.removeItem("key");
  location.reload();
});
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = byId("key").value;
  byId("key").value = "";
  sessionStorage.setItem("key", key);
  picking = false;
  changeAddress({ organization: "" });
});
byId("scheme").addEventListener("click", () => {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
  localStorage.setItem("scheme", (document.documentElement.dataset.scheme = dark ? "light" : "dark"));
});
const scheme = localStorage.getItem("scheme");
if (scheme) document.documentElement.dataset.scheme = scheme;
byId("keys-open").addEventListener("click", () => byId("keys").showModal());
byId("keys-close").addEventListener("click", () => byId("keys").close());
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && document.activeElement === search) return search.blur();
  if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey) return;
  if (event.key === "/") search.focus();
  else if (event.key === "?") byId("keys").showModal();
  else return;
  event.preventDefault();
});
[...document.querySelectorAll("header nav a")].find((link) => link.pathname === location.pathname)?.setAttribute("aria-current", "page");
document.addEventListener("visibilitychange", tick);
setInterval(tick, TICK_MS);
setInterval(showAge, 1000);
aim();
htmx.process(view);
show();
