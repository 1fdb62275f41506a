// The wall: one small chart per series, all with the same number of bars, each with its own scale.

import { ago, anomaly, count, draw, duration, each, incomparable, lateness, line, make, named, percent, ratio, unread } from "./format.js";

const WIDTH = 180;
const HEIGHT = 54;

export class Wall {
  constructor(list) {
    this.list = list;
    this.tiles = new Map();
    this.order = [];
    this.touched = -Infinity;
    list.addEventListener("pointermove", () => (this.touched = performance.now()));
  }

  // Tiles keep their places while the pointer moves over them or one has the focus.
  held() {
    const busy = this.list.matches(":hover") && performance.now() - this.touched < 8000;
    return this.list.childElementCount > 0 && (busy || this.list.contains(document.activeElement));
  }

  // Show the server's message: the tiles that changed and, sometimes, the order, which is that of the choice ``sort``.
  update(wall, sizes, stats, sort) {
    this.sizes = sizes;
    this.sort = sort;
    const turned = stats.ended !== this.stats?.ended || isRead(stats) !== isRead(this.stats ?? stats);
    const later = stats.watermark !== this.stats?.watermark;
    this.stats = stats;
    const old = [...this.tiles.values()].map(({ tile }) => tile).filter((tile) => turned || (later && tile.anomaly));
    if (wall.order) this.order = wall.order;
    each(...[...old, ...wall.tiles].map((tile) => () => this.paint(tile)));
    if (!this.held()) this.arrange();
    const keep = new Set([...this.order, ...Array.from(this.list.children, (item) => item.dataset.key)]);
    for (const key of this.tiles.keys()) if (!keep.has(key)) this.tiles.delete(key);
  }

  arrange() {
    const wanted = this.order.filter((key) => this.tiles.has(key)).map((key) => this.tiles.get(key).item);
    const changed = wanted.length !== this.list.children.length || wanted.some((item, i) => item !== this.list.children[i]);
    if (changed) this.list.replaceChildren(...wanted);
  }

  paint(tile) {
    let parts = this.tiles.get(tile.key);
    if (!parts) this.tiles.set(tile.key, (parts = build(tile.key)));
    parts.tile = tile;
    const { item, link, fan, middle, seen, marks, error, late } = parts;
    sketch(tile, this.sizes, fan, middle, seen, marks);
    if (!tile.outcomes) error.textContent = "not scored yet";
    else if (tile.relative !== null) error.replaceChildren(make("b", { class: tile.relative > 1 ? "bad" : null }, `${ratio(tile.relative)}×`), make("span", { class: "roomy" }, " naive"));
    else error.textContent = tile.compared ? "naive's error is 0" : "no naive yet"; // a tile is narrow
    const unusual = this.tellsAnomaly(tile);
    const wrong = isAhead(tile) || (tile.behind > 1 && isLate(tile, this.stats));
    late.className = unusual ? "unusual" : wrong ? "late" : "";
    late.dataset.window = unusual ? "anomaly" : isAhead(tile) || isLate(tile, this.stats) || tile.in_closed_hours ? "behind" : "series_coverage";
    late.textContent = unusual ? `anomaly ${ago(tile.anomaly.at, this.stats)}` : remark(tile, this.stats);
    item.classList.toggle("anomalous", unusual);
    item.classList.toggle("silent", isLate(tile, this.stats));
    item.classList.toggle("warming", isWarming(tile));
    const told = unusual ? `, anomaly ${anomaly(tile.anomaly.share)} ${ago(tile.anomaly.at, this.stats)}` : "";
    link.setAttribute("aria-label", describe(tile, this.stats) + told);
  }

  // Whether the tile says when its newest anomaly was: a recent one, unless its forecasts are late, and any in that order.
  tellsAnomaly(tile) {
    if (!tile.anomaly || !isRead(this.stats)) return false;
    if (this.sort === "anomaly") return true;
    if (isAhead(tile)) return false;
    return !isLate(tile, this.stats) && this.stats.watermark - tile.anomaly.at < this.sizes.tile_bars * this.stats.freq;
  }
}

function build(key) {
  const [fan, middle, seen, marks] = ["fan", "middle", "seen", "marks"].map((name) => draw("path", { class: name }));
  const picture = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, fan, middle, seen, marks);
  const error = make("span", { "data-window": "series_relative" });
  const late = make("span");
  const [, text, end] = named(key).match(/^(.*?)(␣*)$/su);
  const name = make("span", { class: "key", title: named(key) }, make("span", {}, text), end);
  const link = make("a", { href: `#/series/${encodeURIComponent(key)}` }, name, picture, make("span", { class: "under" }, error, late));
  return { item: make("li", { class: "tile", "data-key": key }, link), link, fan, middle, seen, marks, error, late };
}

function sketch(tile, sizes, fan, middle, seen, marks) {
  const { low = [], high = [] } = tile;
  const numbers = [...tile.values, ...low, ...high].filter((value) => value !== null);
  const least = Math.min(...numbers);
  const range = Math.max(...numbers) - least || 1;
  const steps = Math.min(sizes.tile_steps, low.length);
  const slots = sizes.tile_bars + steps;
  const first = sizes.tile_bars - tile.values.length;
  const x = (slot) => ((slot + 0.5) / slots) * WIDTH;
  const y = (value) => (value === null ? null : HEIGHT - 2 - ((value - least) / range) * (HEIGHT - 4));
  const along = (values, start) => values.map((value, i) => [x(start + i), y(value)]);
  const ahead = first + (tile.start ?? 0);
  seen.setAttribute("d", line(along(tile.values, first)));
  const marked = tile.marked.flatMap((i) => along(tile.values.slice(i, i + 1), first + i));
  marks.setAttribute("d", marked.map((point) => line([point])).join(""));
  middle.setAttribute("d", steps ? line(along(tile.middle, ahead)) : "");
  fan.setAttribute("d", steps ? `${line([...along(high, ahead), ...along(low, ahead).reverse()])}Z` : "");
}

// Whether all is read that was in the topics when the page started: until then nobody knows what is missing.
const isRead = ({ reading }) => reading === null;

// Whether forecasts of the series are missing: one bar may still come, and a replay's series may end at different times.
const isLate = ({ behind }, stats) => isRead(stats) && (behind === null || (behind > 1 && !stats.ended));

// Whether the series' forecasts are further ahead than is credible.
const isAhead = ({ behind }) => behind !== null && behind < 0;

// Whether the series has too few bars for its model: its forecasts do not count yet.
const isWarming = ({ warm }) => warm === false;

function remark(tile, stats) {
  if (isLate(tile, stats)) return lateness(tile, stats);
  if (!isRead(stats)) return "";
  if (isAhead(tile)) return `${duration((-tile.behind * stats.freq) / 1000)} ahead`; // a tile is narrow
  if (tile.in_closed_hours) return "closed";
  if (isWarming(tile)) return "warming up";
  return stats.nominal === 0 ? "" : `${percent(tile.coverage)} inside`;
}

function describe(tile, stats) {
  if (isWarming(tile)) return `${named(tile.key)}, warming up: its forecasts do not count yet, ${lateness(tile, stats)}`;
  const error = tile.relative === null ? `error: ${incomparable(tile)}` : `error ${ratio(tile.relative)} times that of ${stats.naive} (${stats.series_scope}, ${stats.steps})`;
  return `${named(tile.key)}, ${error}, ${lateness(tile, stats)}`;
}

// Explain an empty wall: no match, or no record yet.
export function explainEmpty(box, stats, query) {
  const [title, text] = query
    ? ["No series found", `None of ${count(stats.series)} series has “${query}” in its key${isRead(stats) ? "" : `: the topics are ${unread}`}.`]
    : !isRead(stats) ? ["Reading the topics", "Series appear as their records are read."] : ["Waiting for the first record", `No record for ${duration(stats.silence)}. Series appear as soon as a producer writes to the input topic.`];
  box.replaceChildren(make("h2", {}, title), make("p", {}, text));
}
