// The page: a stream of events comes in; the last message and the address bar decide what is shown.
// Addresses: #/?query=…&sort=…&page=… for the wall, #/series/<key> for one series.

import { compact, count, counted, draw, duration, each, here, incomparable, instant, line, make, named, percent, plural, ratio, rounded, short, showTimesIn, time, unknown, unread, zone } from "./format.js";
import { Detail } from "./detail.js";
import { explainEmpty, Wall } from "./wall.js";

const QUIET_SECONDS = 5;
const LOST_SECONDS = 5;
const BROKEN_SECONDS = 1.5;
const UNREAD_SECONDS = 15;
const ALARMING = 100; // outcomes from which on a bad number is red
const SCORES = ["relative", "coverage"]; // numbers of other outcomes once the service reports them

const part = (id) => document.getElementById(id);
const wall = new Wall(part("tiles"));
const detail = new Detail(part("detail"));

let look = { query: "", sort: "wrong", page: 1, key: null };
let stream = null;
let stats = null;
let heard = performance.now();
let arrived = null; // when the last message came, and when the server last scored; epoch ms
let scored = null;
let sizes = null; // limits of the server: bars and samples kept, bars and steps on a tile
let windows = {}; // what each number was computed over, by the data-window of its element
let trend = [];
let letters = [];
let pages = 1;

// The current view, read from the address bar.

function read() {
  const [path, asked = ""] = location.hash.slice(1).split("?");
  const words = new URLSearchParams(asked);
  const key = path.startsWith("/series/") ? decode(path.slice("/series/".length)) : null;
  if (key !== null) return { ...look, key };
  return { query: words.get("query") ?? "", sort: words.get("sort") ?? "wrong", page: Number(words.get("page")) || 1, key: null };
}

function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function address({ query, sort, page }) {
  const words = new URLSearchParams();
  if (query) words.set("query", query);
  if (sort !== "wrong") words.set("sort", sort);
  if (page > 1) words.set("page", page);
  return words.size ? `#/?${words}` : "#/";
}

function visit(changes) {
  const next = { ...look, page: 1, ...changes };
  history.replaceState(null, "", address(next));
  go();
}

function go() {
  const before = look;
  look = read();
  if (look.key !== before.key) detail.open(look.key);
  neighbours();
  part("wall").hidden = look.key !== null;
  part("detail").hidden = look.key === null;
  part("back").href = address(look);
  if (document.activeElement !== part("query")) part("query").value = look.query;
  const sort = document.querySelector(`#sort input[value="${CSS.escape(look.sort)}"]`);
  if (sort) sort.checked = true;
  document.title = look.key === null ? "streamcast" : `${named(look.key)} – streamcast`;
  if (before.key !== look.key) scrollTo(0, 0);
  connect();
}

function neighbour(by) {
  const place = wall.order.indexOf(look.key);
  return place < 0 ? undefined : wall.order[place + by];
}

function neighbours() {
  part("previous").disabled = neighbour(-1) === undefined;
  part("next").disabled = neighbour(1) === undefined;
}

function step(by) {
  const key = neighbour(by);
  if (key !== undefined) location.replace(`#/series/${encodeURIComponent(key)}`);
}

// The stream.

function connect() {
  stream?.close();
  const words = new URLSearchParams({ query: look.query, sort: look.sort, page: look.page });
  if (look.key !== null) words.set("key", look.key);
  stream = new EventSource(`events?${words}`);
  stream.onmessage = (event) => show(JSON.parse(event.data));
  stream.onerror = () => {
    if (stream.readyState === EventSource.CLOSED) setTimeout(() => stream.readyState === EventSource.CLOSED && connect(), 3000);
  };
}

function show(message) {
  heard = performance.now();
  arrived = Date.now();
  if (message.stats.now?.at !== stats?.now?.at) scored = arrived - message.stats.scored_ago * 1000;
  const fresh = "trend" in message;
  const turned = (message.stats.reading === null) !== (stats?.reading === null);
  stats = message.stats;
  if (fresh) ({ sizes, trend } = message);
  if (stats.reading !== null) trend = [];
  else if (!fresh && stats.now && stats.now.at !== trend.at(-1)?.at) trend = [...trend, stats.now].slice(-sizes.trend);
  if (message.dead_letters) letters = message.dead_letters;
  if (message.windows) windows = message.windows;
  each(
    offerZones,
    showState,
    showStrip,
    showLanes,
    () => (message.dead_letters || turned) && showDeadLetters(),
    () => wall.update(message.wall, sizes, stats, look.sort),
    () => showPager(message.wall),
    neighbours,
    () => "series" in message && detail.update(message.series, fresh, stats, sizes),
    () => message.windows && document.querySelectorAll("[data-window]").forEach(explain),
  );
  if (stats.reading === null && stats.series === 1 && wall.order.length === 1 && look.key === null && !look.query && !show.alone) {
    show.alone = true;
    location.replace(`#/series/${encodeURIComponent(wall.order[0])}`);
  }
}

// The state in words; a timer keeps it current while no message comes.

function showState() {
  const silent = (performance.now() - heard) / 1000;
  const [state, text] = describe(silent);
  document.body.dataset.state = state;
  if (part("status").textContent !== text) part("status").textContent = text;
  const words = trouble(silent);
  part("trouble").hidden = !words;
  if (part("trouble").textContent !== words) part("trouble").textContent = words;
  part("upto").textContent = stats?.watermark && stats.reading === null ? `${stats.ended ? "the data ends at" : "forecasts up to"} ${instant(stats.watermark)} ${zone}` : "";
}

function disconnected(silent) {
  const broken = stream !== null && stream.readyState !== EventSource.OPEN;
  return silent > LOST_SECONDS || (broken && silent > BROKEN_SECONDS);
}

// Why the picture is stale, and of what time it is, or what is wrong with the records; empty while nothing is.
function trouble(silent) {
  if (stats === null) return "";
  const asOf = (moment) => `everything shown is as of ${instant(moment)} ${zone}`;
  if (disconnected(silent)) return `The page is disconnected from its server: ${asOf(arrived)}.`;
  if (stats.trouble) return `The topics cannot be read: ${stats.trouble}`;
  if (stats.scored_ago > UNREAD_SECONDS) return `The page has stopped reading the topics: ${asOf(scored)}.`;
  if (stats.problems.length) return `The service is not ready: ${stats.problems.join("; ")}`;
  return stats.split;
}

function describe(silent) {
  if (disconnected(silent)) return ["lost", `disconnected for ${duration(silent)}`];
  if (!stats) return ["waiting", "connecting"];
  if (stats.trouble) return ["lost", "topics cannot be read"];
  if (stats.scored_ago > UNREAD_SECONDS) return ["lost", `topics not read for ${duration(stats.scored_ago + silent)}`];
  if (stats.reading !== null) return ["waiting", `reading the topics${stats.reading > 0 && stats.reading < 1 ? `, ${Math.floor(100 * stats.reading)} % so far` : ""}`];
  const quiet = stats.silence + silent;
  if (stats.unanswered && stats.unanswered + silent > QUIET_SECONDS) return ["lost", `no forecasts for ${duration(stats.unanswered + silent)}`];
  if (stats.problems.length) return ["quiet", "not ready"];
  if (stats.ended) return ["ended", stats.unserved + silent > QUIET_SECONDS ? "finished; no answer from /metrics" : "finished"];
  if (quiet > QUIET_SECONDS && stats.unserved + silent > QUIET_SECONDS) return ["quiet", `no data for ${duration(quiet)}, no answer from /metrics`];
  if (stats.replay && quiet > QUIET_SECONDS) return ["waiting", `no new data for ${duration(quiet)}`];
  if (quiet > stats.patience) return ["quiet", `no data for ${duration(quiet)}`];
  if (quiet > QUIET_SECONDS) return ["waiting", "waiting for the next bar"];
  return ["live", "live"];
}

// The share of outcomes inside the interval; one quantile makes no interval.
const inside = (coverage) => percent(stats.nominal === 0 ? null : coverage);

function showStrip() {
  const now = (stats.reading === null && stats.now) || {};
  const better = now.relative === null || now.relative === undefined ? incomparable(now) : now.relative <= 1
    ? `${percent(1 - now.relative)} better than naive` : `${percent(now.relative - 1)} worse than naive`;
  const served = stats.reading !== null ? "not known yet" : now.service ? null : "no answer from /metrics";
  const few = (now.outcomes ?? 0) < ALARMING; // chance then has too large a part in them
  const of = stats.reading !== null ? "" : `${stats.headline}\n${stats.steps}`;
  const figures = [
    ["Error", ratio(now.relative), "× naive", better, "relative", !few && now.relative > 1, of],
    ["Inside the interval", inside(now.coverage), "", stats.nominal ? `nominal ${percent(stats.nominal)}` : stats.nominal === 0 ? "one quantile has none" : "not known yet", "coverage", !few && short(now.coverage, stats.nominal), of],
    ["Latency, p99", rounded(now.latency_p99_ms), "ms", served ?? (now.latency_p50_ms === null ? "no new record yet" : `median ${rounded(now.latency_p50_ms)} ms`), "latency_p99_ms", false, stats.reading === null ? stats.latency_scope : ""],
    ["Lag", compact(now.lag_records), plural(now.lag_records, "record"), served ?? (now.lag_records ? "waiting in the input topic" : stats.ended ? "all answered" : "keeping up"), "lag_records"],
    ["Throughput", compact(now.records_rate), "records/s", stats.ended ? "the data has ended" : stats.reading !== null ? "not known yet" : `${compact(now.forecasts_rate)} forecasts/s`, "records_rate"],
    ["Series", count(stats.series), "", `${counted(stats.records, "record", compact)} read`, "series", false, [unusual(), ahead(), leftOut()].filter(Boolean).join("\n")],
  ];
  const strip = part("strip");
  if (!strip.childElementCount) strip.append(...figures.map(([name, , , , field]) => figure(name, field)));
  figures.forEach(([, value, unit, aside, field, bad, of = ""], i) => {
    const box = strip.children[i];
    box.querySelector(".value").replaceChildren(value, make("small", {}, value === unknown ? "" : unit));
    box.querySelector(".value").classList.toggle("bad", Boolean(bad));
    box.querySelector(".aside").textContent = aside;
    box.querySelector(".of").textContent = of;
    box.querySelector("path").setAttribute("d", spark(trend.map((sample) => (SCORES.includes(field) && sample.reported !== now.reported ? null : sample[field]))));
  });
}

function figure(name, field) {
  return make("div", { class: "figure", "data-window": field }, make("h3", {}, name), make("p", { class: "value" }), make("p", { class: "aside" }), make("p", { class: "of" }),
    draw("svg", { viewBox: "0 0 74 26", "aria-hidden": "true" }, draw("path")));
}

// How many series have a recent anomaly; nothing while none has, or the newest bars are not known.
function unusual() {
  return stats.reading === null && stats.anomalous ? `${count(stats.anomalous)} with an anomaly in the newest ${sizes.tile_bars} bars` : "";
}

// How many series have forecasts further ahead than is credible, which no other series is compared with.
function ahead() {
  return stats.reading === null && stats.ahead ? `${count(stats.ahead)} series ahead of the clock` : "";
}

// Which records are on no chart, a line each.
function leftOut() {
  const lines = [
    [stats.skipped, "record", "skipped to keep up"],
    [stats.unreadable, "record", "could not be read"],
    [stats.late, "late record", "dropped"],
  ];
  return lines.filter(([number]) => number).map(([number, noun, why]) => `${counted(number, noun, compact)} ${why}`).join("\n");
}

function spark(values) {
  const known = values.filter((value) => value !== null && value !== undefined);
  if (known.length < 2) return "";
  const least = Math.min(...known, 0);
  const range = Math.max(...known) - least || 1;
  const x = (i) => 74 * (1 + (i - values.length + 1) / (sizes.trend - 1));
  return line(values.map((value, i) => [x(i), value === null ? null : 25 - ((value - least) / range) * 24]));
}

function showLanes() {
  if (stats.reading !== null) {
    part("lanes").replaceChildren();
    part("lanes-note").textContent = `The topics are ${unread}.`;
    return;
  }
  const rows = stats.lanes.map(({ lane, model, shadow, relative, coverage, outcomes }) => make("tr", { class: shadow ? "shadow" : lane === stats.champion ? "champion" : null },
    make("th", { scope: "row" }, make("span", { class: "swatch", "aria-hidden": "true" }), lane, make("small", {}, ` ${model}${shadow ? ", shadow" : ""}`)),
    make("td", { class: relative > 1 && outcomes >= ALARMING ? "bad" : null, "data-window": "relative" }, ratio(relative)),
    make("td", { "data-window": "coverage" }, inside(coverage))));
  part("lanes").replaceChildren(...rows);
  part("lanes-note").textContent = `${comparison()} ${shadows()}Naive repeats ${stats.naive}. ${stats.scope}`.trim();
}

function shadows() {
  const [first, ...more] = stats.lanes.filter(({ shadow }) => shadow);
  if (!first) return "";
  return more.length ? "Shadows are measured and publish nothing. " : `${first.lane} is a shadow: it is measured and publishes nothing. `;
}

function comparison() {
  const [champion, ...others] = stats.lanes.filter(({ relative }) => relative !== null);
  if (stats.now?.relative === null && stats.now.outcomes) return "Errors relative to seasonal naive's appear once it has a value to repeat.";
  if (!champion) return stats.watermark === null ? "No forecast yet." : "Errors appear once the first forecast steps have been observed.";
  if (!others.length) return "";
  const best = others.reduce((a, b) => (a.relative <= b.relative ? a : b));
  const by = Math.abs(1 - best.relative / champion.relative);
  if (by < 0.005) return `${best.lane} and ${champion.lane} have equal errors.`;
  return `The error of ${best.lane} is ${percent(by)} ${best.relative < champion.relative ? "lower" : "higher"} than that of ${champion.lane}.`;
}

function showDeadLetters() {
  const reading = stats.reading !== null;
  part("dead-note").hidden = letters.length > 0;
  part("dead-note").textContent = reading ? `The topics are ${unread}.` : "None.";
  part("dead-tally").textContent = stats.dead_letters && !reading ? count(stats.dead_letters) : "";
  const open = new Set(Array.from(document.querySelectorAll("#dead details[open]"), (item) => item.dataset.id));
  part("dead").replaceChildren(...letters.map((letter) => {
    const head = make("summary", {}, make("b", {}, letter.reason || "no reason given"), make("time", { title: instant(letter.time) }, time(letter.time)),
      make("span", { class: "detail" }, letter.detail), make("code", {}, letter.value || "(empty)"));
    const item = make("details", { "data-id": letter.id }, head,
      make("p", {}, `from ${letter.source} · ${counted(letter.bytes, "byte")}`));
    item.open = open.has(letter.id);
    return make("li", {}, item);
  }));
}

function showPager(news) {
  if (!news.order) return;
  pages = news.pages;
  part("count").textContent = look.query ? `${count(news.total)} of ${count(stats.series)} series` : `${count(news.total)} series`;
  part("pager").hidden = pages < 2;
  part("page-number").textContent = `${news.page} of ${pages}`;
  part("previous-page").disabled = news.page <= 1;
  part("next-page").disabled = news.page >= pages;
  look.page = news.page;
  part("empty").hidden = news.order.length > 0;
  if (!news.order.length) explainEmpty(part("empty"), stats, look.query);
}

// Colours: the system's, unless the reader has chosen.

const themes = ["auto", "light", "dark"];

function paint(theme) {
  document.documentElement.dataset.theme = theme;
  part("theme").textContent = theme;
  if (look.key !== null && detail.drawn) detail.render();
}

// The time zone: the series' at first, UTC or the browser's; two that are the same are one.

function offerZones() {
  const zones = new Map([["UTC", "utc"]]);
  for (const [name, choice] of [[here, "here"], [stats.zone, "series"]]) if (!zones.has(name)) zones.set(name, choice);
  const box = part("zone");
  if (box.dataset.zones === [...zones.keys()].join()) return;
  box.dataset.zones = [...zones.keys()].join();
  const words = { utc: "", here: " (here)", series: " (series)" };
  box.replaceChildren(...[...zones].map(([name, choice]) => make("option", { value: name, "data-choice": choice }, name + words[choice])));
  box.hidden = zones.size < 2;
  box.value = { here, series: stats.zone }[localStorage.getItem("zone") ?? "series"] ?? "UTC";
  showZone();
}

function showZone() {
  if (!showTimesIn(part("zone").value)) {
    part("zone").value = "UTC";
    showTimesIn("UTC");
  }
  each(showState, showDeadLetters, () => look.key !== null && detail.drawn && detail.render());
}

// Keyboard and pointer.

let typing = 0;
part("query").addEventListener("input", (event) => {
  clearTimeout(typing);
  typing = setTimeout(() => visit({ query: event.target.value.trim() }), 200);
});
part("sort").addEventListener("change", (event) => visit({ sort: event.target.value }));
part("previous-page").addEventListener("click", () => visit({ page: look.page - 1 }));
part("next-page").addEventListener("click", () => visit({ page: look.page + 1 }));
part("previous").addEventListener("click", () => step(-1));
part("next").addEventListener("click", () => step(1));
part("theme").addEventListener("click", () => {
  const theme = themes[(themes.indexOf(document.documentElement.dataset.theme) + 1) % themes.length];
  localStorage.setItem("theme", theme);
  paint(theme);
});
part("zone").addEventListener("change", () => {
  localStorage.setItem("zone", part("zone").selectedOptions[0].dataset.choice);
  showZone();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    if (document.activeElement === part("query")) part("query").blur();
    else if (look.key !== null) location.hash = address(look);
  }
  if (event.target.matches("input[type=search]")) return;
  if (event.key === "/" && look.key === null) {
    event.preventDefault();
    part("query").focus();
  }
  if (event.key === "j") step(1);
  if (event.key === "k") step(-1);
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => paint(document.documentElement.dataset.theme));
// A number's window is its title; it is set when the server sends another, and on new elements when the pointer comes.
function explain(number) {
  number.title = windows[number.dataset.window] ?? "";
}
document.addEventListener("pointerover", (event) => {
  const number = event.target.closest?.("[data-window]");
  if (number) explain(number);
});
addEventListener("hashchange", go);
setInterval(showState, 1000);

const plotly = make("script", { src: "plotly.min.js" });
plotly.addEventListener("load", () => look.key !== null && detail.series && detail.render());
document.head.append(plotly);
paint(localStorage.getItem("theme") ?? "auto");
go();
