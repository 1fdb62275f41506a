// One series in detail: observations, the fan of one forecast, and the errors of the last forecasts.
// Plotly gets numbers and constant words only; keys and lane names from the topics go into text elements.

import { anomaly, exact, incomparable, instant, lateness, make, named, percent, plural, rarity, ratio, short, unread, wallClock, zone } from "./format.js";

const SHOWN = 110;
const SHOWN_NARROW = 60;
const NARROW = 500;
const MARGIN = 0.06; // of the values' range, above and below them
const AXES = ["xaxis", "yaxis", "yaxis2", "yaxis3"];
const TICKS = [
  { dtickrange: [null, 1000], value: "%H:%M:%S.%L\n%-d %b %Y" },
  { dtickrange: [1000, 60000], value: "%H:%M:%S\n%-d %b %Y" },
  { dtickrange: [60000, 86400000], value: "%H:%M\n%-d %b %Y" },
  { dtickrange: [86400000, "M1"], value: "%-d %b\n%Y" },
  { dtickrange: ["M1", "M12"], value: "%b\n%Y" },
  { dtickrange: ["M12", null], value: "%Y" },
];
const plainNumbers = { exponentformat: "B", minexponent: 6, separatethousands: true, automargin: "left" };

export class Detail {
  constructor(root) {
    this.part = (id) => root.querySelector(`#${id}`);
    this.chart = this.part("chart");
    this.slider = this.part("cutoff");
    this.slider.addEventListener("input", () => this.choose(Number(this.slider.value)));
    this.part("latest").addEventListener("click", () => this.choose(Infinity));
    this.part("lane-choice").addEventListener("change", (event) => {
      this.lane = event.target.value;
      this.render();
    });
    new ResizeObserver(() => this.resize()).observe(this.chart);
    this.open(null);
  }

  // Start with another series (null for none).
  open(key) {
    this.key = key;
    this.zoom = {};
    this.values = new Map();
    this.lanes = new Map();
    this.lane = null;
    this.cutoff = null;
    this.part("detail-key").textContent = named(key ?? "");
    this.part("facts").replaceChildren();
    this.part("lane-choice").replaceChildren();
    this.part("outcome").textContent = "";
    if (this.drawn) window.Plotly.purge(this.chart);
    this.drawn = false;
  }

  // Take the whole series (the first message of a connection, which is fresh, or of another partition) or its changes;
  // null means an unknown key.
  update(series, fresh, stats, sizes) {
    if (fresh || series?.partition !== this.partition) {
      this.values.clear();
      this.lanes.clear();
      this.partition = series?.partition;
    }
    if (series === null) {
      this.part("outcome").textContent = stats.reading === null ? "No series has this key yet." : `The topics are ${unread}.`;
      return;
    }
    this.stats = stats;
    this.recent = sizes.tile_bars * series.freq;
    const version = [series.version, series.behind, series.in_closed_hours, stats.ended, stats.reading === null].join();
    if (!fresh && version === this.version) return;
    this.version = version;
    this.series = series;
    series.labels.forEach((label, i) => this.values.set(label, series.values[i]));
    const oldest = Math.max(...this.values.keys()) - sizes.bars * series.freq;
    for (const label of this.values.keys()) if (label < oldest) this.values.delete(label);
    for (const [lane, news] of Object.entries(series.lanes)) {
      const before = this.lanes.get(lane)?.forecasts ?? [];
      const forecasts = [...before, ...news.forecasts].filter((forecast) => forecast.cutoff >= news.oldest);
      const naive = new Map(news.naive);
      for (const forecast of forecasts) forecast.naive = naive.get(forecast.cutoff) ?? forecast.naive;
      this.lanes.set(lane, { ...news, forecasts });
    }
    this.render();
  }

  choose(place) {
    const { forecasts } = this.lanes.get(this.lane);
    this.cutoff = place >= forecasts.length - 1 ? null : forecasts[place].cutoff;
    this.render();
  }

  // A narrow chart shows fewer bars and ticks than a wide one, so a new size needs a new layout.
  resize() {
    if (!this.drawn || !this.chart.clientWidth) return;
    this.render();
    window.Plotly.Plots.resize(this.chart);
  }

  // The selected forecast: that of the chosen cutoff while it is kept, otherwise the newest.
  chosen(lane) {
    const forecasts = this.lanes.get(lane)?.forecasts ?? [];
    const place = this.cutoff === null ? -1 : forecasts.findIndex((forecast) => forecast.cutoff === this.cutoff);
    return { place: place < 0 ? forecasts.length - 1 : place, forecasts };
  }

  closed(label) {
    return this.series.closed.some(([first, last]) => first <= label && label <= last);
  }

  render() {
    if (!this.lanes.has(this.lane)) this.lane = this.lanes.has(this.stats.champion) ? this.stats.champion : ([...this.lanes.keys()][0] ?? null);
    this.renderLanes();
    this.part("naive").textContent = `naive: ${this.stats.naive}`;
    this.part("closed").hidden = !this.series.closed.length;
    this.part("anomalies").hidden = !this.marked().length;
    this.renderFacts();
    const { place, forecasts } = this.chosen(this.lane);
    const forecast = forecasts[place];
    const drawn = [...(forecast?.naive ?? []), ...(this.lanes.get(this.lane)?.errors?.naive ?? [])];
    this.part("naive").hidden = drawn.every((value) => value === null);
    this.renderSlider(place, forecasts);
    this.renderOutcome(forecast);
    this.plot(forecast);
  }

  renderLanes() {
    const box = this.part("lane-choice");
    const shown = Array.from(box.querySelectorAll("input"), (input) => input.value);
    const lanes = [...this.lanes.keys()].sort((a, b) => (b === this.stats.champion) - (a === this.stats.champion) || (a < b ? -1 : 1));
    box.hidden = this.part("other-lanes").hidden = lanes.length < 2;
    if (shown.join("\n") === lanes.join("\n")) return;
    box.replaceChildren(
      make("legend", { class: "unseen" }, "Lane"),
      ...lanes.map((lane) => {
        const input = make("input", { type: "radio", name: "lane", value: lane });
        input.checked = lane === this.lane;
        return make("label", {}, input, make("span", {}, `${lane} · ${this.lanes.get(lane).model}`));
      }),
    );
  }

  renderFacts() {
    const { relative = null, outcomes = 0, compared = 0, coverage = null, forecasts = [] } = this.lanes.get(this.lane) ?? {};
    const warming = forecasts.length > 0 && !forecasts.at(-1).warm;
    const facts = [
      ...(warming ? [["state", "warming up: its forecasts do not count yet", false, "warming"]] : []),
      ["error", relative === null ? incomparable({ compared, outcomes }) : `${ratio(relative)}× naive`, relative > 1, "series_relative"],
      ...(this.stats.nominal === 0 ? [] : [["inside the interval", `${percent(coverage)}${this.stats.nominal ? ` (nominal ${percent(this.stats.nominal)})` : ""}`, short(coverage, this.stats.nominal), "series_coverage"]]),
      ["over", `${this.stats.series_scope}, ${this.stats.steps}`, false, "series_relative"],
      ...this.anomalyFacts(),
      ["forecast", lateness(this.series, this.stats), (this.series.behind < 0 || (this.series.behind > 1 && !this.stats.ended)) && this.stats.reading === null, "behind"],
    ];
    this.part("facts").replaceChildren(
      ...facts.map(([name, value, bad, field]) => make("div", { "data-window": field }, make("dt", {}, name), make("dd", { class: bad ? "bad" : null }, value))),
    );
  }

  // The anomaly of the newest bar, and the newest that is marked; nothing where neither is known.
  anomalyFacts() {
    const { anomalies = [], forecasts = [] } = this.lanes.get(this.lane) ?? {};
    const [newest, last] = [forecasts.at(-1), anomalies.at(-1)];
    if (!newest || this.stats.reading !== null) return [];
    const now = last !== undefined && last[0] === newest.cutoff;
    return [
      ...(newest.anomaly === null ? [] : [["anomaly of the newest bar", anomaly(newest.anomaly), now, "anomaly"]]),
      ...(!last || now ? [] : [["last anomaly", `${anomaly(last[1])} at ${instant(last[0])}`, newest.cutoff - last[0] < this.recent, "anomaly"]]),
    ];
  }

  // The marked bars of the lane that have a value here.
  marked() {
    return (this.lanes.get(this.lane)?.anomalies ?? []).filter(([at]) => (this.values.get(at) ?? null) !== null);
  }

  renderSlider(place, forecasts) {
    const last = Math.max(forecasts.length - 1, 0);
    this.slider.max = last;
    this.slider.value = place;
    this.slider.disabled = last === 0;
    this.part("latest").disabled = this.cutoff === null;
    const made = forecasts[place] ? instant(forecasts[place].cutoff) : "–";
    this.slider.setAttribute("aria-valuetext", `forecast made at ${made}`);
    this.part("cutoff-label").replaceChildren("Forecast made at ", make("b", {}, made), this.cutoff === null ? " (latest)" : "");
  }

  renderOutcome(forecast) {
    const box = this.part("outcome");
    if (!forecast) {
      box.textContent = this.stats.reading === null ? "No forecast of this series yet." : `The topics are ${unread}.`;
      return;
    }
    const middle = forecast.values[middleOf(forecast.levels)];
    const { labels } = forecast;
    const observed = labels.map((label) => this.values.get(label) ?? null);
    const newest = Math.max(...this.values.keys());
    const empty = labels.filter((_, i) => observed[i] === null);
    const closed = empty.filter((label) => this.closed(label)).length;
    const missing = empty.filter((label) => label <= newest && !this.closed(label)).length;
    const known = observed.map((value, i) => ({ value, i })).filter(({ value }) => value !== null);
    const mean = (numbers) => (numbers.length ? numbers.reduce((sum, number) => sum + number, 0) / numbers.length : null);
    const error = mean(known.map(({ value, i }) => Math.abs(value - middle[i])));
    const naive = mean(known.map(({ value, i }) => [value, forecast.naive[i]]).filter(([, before]) => before !== null)
      .map(([value, before]) => Math.abs(value - before)));
    const hasInterval = forecast.levels.length > 1;
    const inside = known.filter(({ value, i }) => forecast.values[0][i] <= value && value <= forecast.values.at(-1)[i]).length;
    const bold = (text) => make("b", {}, text);
    box.replaceChildren(bold(`${known.length} of ${middle.length}`), ` ${plural(middle.length, "step")} observed`);
    if (known.length) {
      box.append("; mean error ", bold(exact(error)), ", naive ", bold(exact(naive)), ` (${this.stats.naive})`);
      if (hasInterval) box.append("; ", bold(`${inside} of ${known.length}`), " inside the interval");
    }
    if (closed) box.append("; ", bold(closed === middle.length ? `all ${closed}` : `${closed}`), " in closed hours: nobody can score them");
    if (missing) box.append("; ", bold(`${missing}`), " without a value: nobody can score them");
    if (!forecast.warm) box.append("; the series was still warming up");
  }

  plot(forecast) {
    if (!window.Plotly || !this.values.size) return;
    const traces = [...(forecast ? this.fan(forecast) : []), ...this.observed(), ...this.marks(), ...this.errors()];
    const config = { displayModeBar: false, responsive: false, doubleClick: false, scrollZoom: false };
    window.Plotly.react(this.chart, traces, this.layout(forecast, traces), config);
    if (!this.drawn) {
      this.chart.on("plotly_relayout", (changes) => this.keepZoom(changes));
      this.chart.on("plotly_doubleclick", () => {
        this.zoom = {};
        this.render();
      });
      this.chart.on("plotly_click", ({ points }) => this.chooseAt(points.find(({ customdata }) => customdata !== undefined)?.customdata));
      this.drawn = true;
    }
    const marked = this.marked().length;
    const marks = marked ? `; ${marked} ${marked === 1 ? "bar is marked as an anomaly" : "bars are marked as anomalies"}` : "";
    this.chart.setAttribute("aria-label", `Observations of this series, and its forecast made at ${forecast ? instant(forecast.cutoff) : "no time yet"}${marks}`);
  }

  // Keep the ranges that a person has chosen; the other axes follow what can be seen.
  keepZoom(changes) {
    const chosen = AXES.filter((axis) => Object.keys(changes).some((name) => name.startsWith(`${axis}.range`)));
    for (const axis of chosen) this.zoom[axis] = [...this.chart.layout[axis].range];
    if (chosen.length) this.render();
  }

  chooseAt(cutoff) {
    const place = this.chosen(this.lane).forecasts.findIndex((forecast) => forecast.cutoff === cutoff);
    if (place >= 0) this.choose(place);
  }

  observed() {
    const labels = [...this.values.keys()].sort((a, b) => a - b);
    const y = labels.map((label) => this.values.get(label));
    const alone = y.map((value, i) => value !== null && (y[i - 1] ?? null) === null && (y[i + 1] ?? null) === null);
    return [{ x: labels.map(wallClock), y, customdata: labels, name: "observed", mode: "lines+markers", marker: { color: ink("--ink"), size: alone.map((one) => (one ? 5 : 0)) }, line: { color: ink("--ink"), width: 1.6 }, hovertemplate: "%{y:.4~g}" }];
  }

  marks() {
    const marked = this.marked();
    if (!marked.length) return [];
    return [{ x: marked.map(([at]) => wallClock(at)), y: marked.map(([at]) => this.values.get(at)), customdata: marked.map(([at]) => at), text: marked.map(([, share]) => `${anomaly(share)}, ${rarity(share)}`), name: "anomaly", mode: "markers", marker: { symbol: "circle-open", size: 13, color: ink("--bad"), line: { width: 2 } }, hovertemplate: "%{text}" }];
  }

  fan(forecast) {
    const { labels, levels, values } = forecast;
    const x = labels.map(wallClock);
    const bands = [];
    for (let low = 0, high = levels.length - 1; low < high; low++, high--) {
      bands.push({
        x: [...x, ...x.toReversed()], y: [...values[high], ...values[low].toReversed()],
        fill: "toself", fillcolor: ink("--fan"), mode: "none", hoverinfo: "skip", name: "interval",
      });
    }
    const middle = { x, y: values[middleOf(levels)], name: "median", mode: "lines+markers", line: { color: ink("--forecast"), width: 2 }, marker: { size: 4, symbol: labels.map((label) => (this.closed(label) ? "circle-open" : "circle")) }, hovertemplate: "%{y:.4~g}" };
    const naive = { x, y: forecast.naive, name: "naive", mode: "lines", line: { color: ink("--naive"), width: 1.5, dash: "dot" }, hovertemplate: "%{y:.4~g}" };
    const others = [...this.lanes].filter(([lane]) => lane !== this.lane).flatMap(([, { forecasts }]) => {
      const other = forecasts.find(({ cutoff }) => cutoff === forecast.cutoff);
      return other ? [{ x: other.labels.map(wallClock), y: other.values[middleOf(other.levels)], name: "other lane", mode: "lines", line: { color: ink("--rival"), width: 1.6, dash: "dash" }, hovertemplate: "%{y:.4~g}" }] : [];
    });
    return [...bands, naive, ...others, middle];
  }

  errors() {
    const panel = (errors, values, colour, axis, name, extra = {}) => ({
      x: errors.cutoff.map(wallClock), y: values, customdata: errors.cutoff, name, yaxis: axis, mode: "lines", line: { color: ink(colour), width: 1.6, ...extra }, hovertemplate: "%{y:.3~g}",
    });
    const mine = this.lanes.get(this.lane)?.errors;
    if (!mine) return [];
    const others = [...this.lanes].filter(([lane, { errors }]) => lane !== this.lane && errors);
    return [
      panel(mine, mine.naive, "--naive", "y2", "naive's error", { dash: "dot" }),
      ...others.map(([, { errors }]) => panel(errors, errors.error, "--rival", "y2", "other lane's error", { dash: "dash" })),
      panel(mine, mine.error, "--forecast", "y2", "error"),
      ...(this.stats.nominal === 0 ? [] : [{ ...panel(mine, mine.coverage.map((share) => share === null ? null : share * 100), "--forecast", "y3", "inside", { shape: "hvh" }), hovertemplate: "%{y:.0f} %" }]),
    ];
  }

  layout(forecast, traces) {
    const { freq } = this.series;
    if (this.zoom.zone !== zone) this.zoom = { zone };
    const newest = Math.max(...this.values.keys());
    const end = Math.max(newest, this.chosen(this.lane).forecasts.at(-1)?.cutoff ?? newest);
    const steps = forecast?.values[0].length ?? 0;
    const narrow = this.chart.clientWidth < NARROW;
    const shown = Math.max(narrow ? SHOWN_NARROW : SHOWN, 2 * steps);
    const times = this.zoom.xaxis ?? [Math.max(Math.min(...this.values.keys()), newest - shown * freq) - freq, end + (steps + 1) * freq].map(wallClock);
    const within = (axis, name) => this.zoom[name] ?? rangeOf(traces.filter(({ yaxis = "y" }) => yaxis === axis), times, axis === "y2");
    const axis = { gridcolor: ink("--line"), zeroline: false, linecolor: ink("--line"), tickfont: { color: ink("--muted") }, automargin: false };
    const title = (text, y) => ({ text, x: 0, xref: "paper", y, yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false, font: { size: 12, color: ink("--muted") } });
    const rule = (yref, y) => ({ type: "line", xref: "paper", x0: 0, x1: 1, yref, y0: y, y1: y, line: { color: ink("--muted"), width: 1, dash: "dot" } });
    const { nominal } = this.stats;
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: ink("--ink") },
      margin: { l: 52, r: 14, t: 28, b: 58 },
      showlegend: false,
      hovermode: "x unified",
      hoverlabel: { bgcolor: ink("--card"), bordercolor: ink("--line"), font: { color: ink("--ink") } },
      dragmode: "zoom",
      xaxis: { ...axis, type: "date", range: times, anchor: "y3", tickformatstops: TICKS, hoverformat: `%-d %b %Y, %H:%M:%S (${zone})`, title: { text: `time in ${zone}`, standoff: 6, font: { size: 12, color: ink("--muted") } }, nticks: narrow ? 4 : 9 },
      yaxis: { ...axis, ...plainNumbers, domain: [0.42, 1], nticks: 6, range: within("y", "yaxis") },
      yaxis2: { ...axis, ...plainNumbers, domain: [0.19, 0.35], nticks: 3, range: within("y2", "yaxis2") },
      yaxis3: { ...axis, domain: [0, 0.12], range: this.zoom.yaxis3 ?? [-8, 108], tickvals: [0, 100], ticktext: ["0 %", "100 %"] },
      annotations: [title(plainText(this.stats.target), 1.005), title(`${narrow ? "" : "mean absolute "}error of the forecast made at that time, all steps`, 0.355), title(nominal === 0 ? "one quantile makes no interval" : "inside the interval, all steps", 0.125)],
      shapes: [
        ...this.series.closed.map(([first, last]) => ({ type: "rect", layer: "below", x0: wallClock(first - freq / 2), x1: wallClock(last + freq / 2), yref: "y domain", y0: 0, y1: 1, fillcolor: ink("--raised"), line: { width: 0 } })),
        ...(nominal ? [rule("y3", nominal * 100)] : []),
        ...(forecast ? [{ type: "line", x0: wallClock(forecast.cutoff), x1: wallClock(forecast.cutoff), yref: "paper", y0: 0, y1: 1, line: { color: ink("--forecast"), width: 1 } }] : []),
      ],
    };
  }
}

// Plotly draws a few tags and entities of its own; this shows them as they are.
function plainText(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

// The range of the traces' values between two times, with a margin; undefined if there is none.
function rangeOf(traces, times, fromZero) {
  const [first, last] = times.map(moment);
  const seen = [];
  for (const { x, y } of traces) x.forEach((time, i) => y[i] !== null && first <= moment(time) && moment(time) <= last && seen.push(y[i]));
  if (!seen.length) return undefined;
  const [least, most] = [fromZero ? 0 : Math.min(...seen), Math.max(...seen)];
  const margin = MARGIN * (most - least || Math.abs(most) || 1);
  return [fromZero ? 0 : least - margin, most + margin];
}

// A time of a chart as a number: Plotly writes a space for the T of wallClock.
const moment = (time) => Date.parse(`${String(time).replace(" ", "T")}Z`);

function middleOf(levels) {
  return levels.reduce((best, level, i) => (Math.abs(level - 0.5) < Math.abs(levels[best] - 0.5) ? i : best), 0);
}

// A colour of the style sheet in the current theme.
function ink(name) {
  const probe = document.getElementById("chart");
  const before = probe.style.color;
  probe.style.color = `var(${name})`;
  const colour = getComputedStyle(probe).color;
  probe.style.color = before;
  return colour;
}
