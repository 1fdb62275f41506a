// Numbers and times for readers, and the two functions that create elements.
// Text from the topics goes into text nodes and attributes only, never into markup.

const figures = new Intl.NumberFormat("en", { maximumSignificantDigits: 3, notation: "compact" });
const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const clock = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat("en-GB", { timeZone: "UTC", day: "numeric", month: "short", year: "numeric" });

export const unknown = "–";
const given = (value) => value !== null && value !== undefined;

export const compact = (value) => (given(value) ? figures.format(value) : unknown);
export const exact = (value) => (given(value) ? plain.format(value) : unknown);
export const count = (value) => (given(value) ? whole.format(value) : unknown);
export const rounded = (value) => (given(value) ? exact(Number(value.toPrecision(3))) : unknown);
export const ratio = (value) => (given(value) ? value.toFixed(2) : unknown);
export const percent = (value) => (given(value) ? `${Math.round(value * 100)} %` : unknown);
export const time = (milliseconds) => (given(milliseconds) ? clock.format(milliseconds) : unknown);
export const instant = (milliseconds) => (given(milliseconds) ? `${day.format(milliseconds)}, ${time(milliseconds)}` : unknown);

export function duration(seconds) {
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 100 * 60) return `${Math.round(seconds / 60)} min`;
  return seconds < 48 * 3600 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86400)} days`;
}

// Whether the coverage is clearly below the nominal one.
export const short = (coverage, nominal) => given(coverage) && given(nominal) && coverage < nominal - 0.15;

// How far a number of bars reaches, such as "3 days".
export const span = (bars, freq) => duration((bars * freq) / 1000);

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

// An SVG path through points [[x, y], ...]; a null y makes a gap.
export function line(points) {
  let path = "";
  let down = false;
  for (const [x, y] of points) {
    if (given(y)) path += `${down ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    down = given(y);
  }
  return path;
}
