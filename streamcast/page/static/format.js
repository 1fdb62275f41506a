// Numbers and times for readers, and the two functions that create elements.
// Text from the topics goes into text nodes and attributes only, never into markup.

const figures = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "compact" });
const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

// The zone of all times on the page, and the browser's own.
export let zone;
export const here = Intl.DateTimeFormat().resolvedOptions().timeZone;
let clock, day, fields;

// Show times in another zone; false for one that the browser does not know.
export function showTimesIn(name) {
  try {
    clock = new Intl.DateTimeFormat("en-GB", { timeZone: name, hour: "2-digit", minute: "2-digit", second: "2-digit" });
  } catch {
    return false;
  }
  day = new Intl.DateTimeFormat("en-US", { timeZone: name, day: "numeric", month: "short", year: "numeric" });
  fields = new Intl.DateTimeFormat("en-GB", { timeZone: name, hourCycle: "h23", year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" });
  zone = name;
  return true;
}
showTimesIn("UTC");

// Whether a number is a time that JavaScript can show: producers choose the timestamps of their records.
const isTime = (milliseconds) => Number.isFinite(milliseconds) && Math.abs(milliseconds) <= 8.64e15;

// What a clock in the zone shows, such as 2026-11-01T12:00:00.000; null for a number that is no time. Plotly draws text as it is, but numbers in local time.
export function wallClock(milliseconds) {
  if (!isTime(milliseconds)) return null;
  const read = Object.fromEntries(fields.formatToParts(milliseconds).map(({ type, value }) => [type, Number(value)]));
  const shown = Date.UTC(read.year, read.month - 1, read.day, read.hour, read.minute, read.second, new Date(milliseconds).getUTCMilliseconds());
  return new Date(shown).toISOString().slice(0, -1);
}

export const unknown = "–";
export const unread = "not read to the end yet";
const given = (value) => value !== null && value !== undefined;

export const compact = (value) => (given(value) ? figures.format(value) : unknown);
export const exact = (value) => (given(value) ? plain.format(value) : unknown);
export const count = (value) => (given(value) ? whole.format(value) : unknown);
export const plural = (value, noun) => (value === 1 ? noun : `${noun}s`);
export const counted = (value, noun, form = count) => `${form(value)} ${plural(value, noun)}`;
export const rounded = (value) => (given(value) ? exact(Number(value.toPrecision(3))) : unknown);
export const ratio = (value) => (given(value) ? value.toFixed(2) : unknown);
export const percent = (value) => (given(value) ? `${Math.round(value * 100)} %` : unknown);
export const time = (milliseconds) => (isTime(milliseconds) ? clock.format(milliseconds) : unknown);
export const instant = (milliseconds) => (isTime(milliseconds) ? `${date(milliseconds)}, ${time(milliseconds)}` : unknown);

// A date as the axis of a chart has it, such as 1 Sep 2026.
function date(milliseconds) {
  const read = Object.fromEntries(day.formatToParts(milliseconds).map(({ type, value }) => [type, value]));
  return `${read.day} ${read.month} ${read.year}`;
}

// A key with its outer blanks as marks: two keys may differ in nothing else.
export const named = (key) => key.replace(/^\s+|\s+$/g, (blanks) => "␣".repeat([...blanks].length));

export function duration(seconds) {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min`;
  return seconds < 48 * 3600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

// Why there is no error relative to seasonal naive's; its error may be 0, too.
export function incomparable({ compared, outcomes }) {
  if (!outcomes) return "not known yet";
  return compared ? "naive's error is 0" : "naive not known yet";
}

// Whether the coverage is clearly below the nominal one.
export const short = (coverage, nominal) => given(coverage) && given(nominal) && coverage < nominal - 0.15;

// How far a series is behind the newest forecast of all, closed hours left out; or ahead of all that is credible.
export function lateness({ behind, in_closed_hours: closed }, { freq, ended, reading }) {
  if (given(reading)) return unread;
  if (behind === null) return "no forecast yet";
  if (behind < 0) return `${duration((-behind * freq) / 1000)} ahead of the others`;
  if (!behind) return closed ? "up to date, in closed hours" : "up to date";
  if (behind === 1 && !ended) return "up to date"; // its bar may still come
  const span = duration((behind * freq) / 1000);
  return ended ? `ended ${span} earlier` : `${span} late`;
}

// An anomaly with two digits of its distance from 1, such as 0.41 or 0.9991.
export function anomaly(share) {
  const apart = 1 - share;
  return apart > 0 ? String(Number(share.toFixed(Math.max(2, 1 - Math.floor(Math.log10(apart)))))) : "1";
}

// How rare so unusual a bar is, in words; the tail of a series says little beyond one bar in 10,000.
export function rarity(share) {
  const apart = 1 - share;
  return apart < 1e-4 ? "rarer than one bar in 10,000" : `one bar in ${count(Number((1 / apart).toPrecision(2)))}`;
}

// How long before the newest forecast of all series a bar was; a tile is narrow, so days are a letter.
export const ago = (at, { watermark }) => (watermark > at ? `${duration((watermark - at) / 1000).replace("days", "d")} ago` : "now");

// Do each of these; the error of one goes to the console and does not keep the others from being done.
export function each(...parts) {
  for (const one of parts) {
    try {
      one();
    } catch (error) {
      reportError(error);
    }
  }
}

export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (given(value)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

export function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

// An SVG path through points [[x, y], ...]; a null y makes a gap, and a point between two gaps is a dot.
export function line(points) {
  let path = "";
  points.forEach(([x, y], i) => {
    if (!given(y)) return;
    const [before, after] = [i > 0 && given(points[i - 1][1]), i + 1 < points.length && given(points[i + 1][1])];
    path += `${before ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}${before || after ? "" : "h0"}`;
  });
  return path;
}
