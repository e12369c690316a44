"use strict";
// HTML elements. Every text of the data becomes a text node: nothing here parses HTML.

/** Lists of at most so many lines are open. */
const OPEN_LINES = 6;

/**
 * A new element.
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @param {ElementProperties} properties
 * @param {Child[]} children
 */
function element(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) setProperty(made, name, value);
  made.append(...childNodes(children));
  return made;
}

/**
 * @param {HTMLElement} target
 * @param {string} name
 * @param {ElementProperties[string]} value
 */
function setProperty(target, name, value) {
  if (value === undefined || value === null || value === false) return;
  if (typeof value === "function") Object.assign(target, { [name]: value });
  else if (value === true) target.setAttribute(name, "");
  else target.setAttribute(name, name === "href" ? safeAddress(value) : value);
}

/**
 * @param {readonly Child[]} children
 * @returns {(Node | string)[]}
 */
function childNodes(children) {
  return children.flatMap((child) => {
    if (child === undefined || child === null || child === false) return [];
    return typeof child === "string" || child instanceof Node ? [child] : childNodes(child);
  });
}

/**
 * An address inside the page or on the web. Others (javascript:, data:) become "#".
 * @param {string} address
 */
function safeAddress(address) {
  return /^(#|https?:\/\/)/i.test(address) ? address : "#";
}

/**
 * A link; one that leaves the page opens a new tab.
 * @param {string} address
 * @param {Child} content
 * @param {ElementProperties} properties
 */
function link(address, content, properties = {}) {
  const newTab = address.startsWith("#") ? {} : { rel: "noopener noreferrer", target: "_blank" };
  return element("a", { href: address, ...newTab, ...properties }, content);
}

/** @param {Child[]} children */
function mutedParagraph(...children) {
  return element("p", { class: "muted" }, ...children);
}

/**
 * The heading of a page; it takes the focus when the page opens.
 * @param {string} title
 */
function pageHeading(title) {
  return element("h1", { tabindex: "-1" }, title);
}

/**
 * Names and values side by side; empty values are left out.
 * @param {[string, Child][]} pairs
 */
function factList(pairs) {
  return element(
    "dl",
    { class: "facts" },
    pairs
      .filter(([, value]) => value !== null && value !== undefined && value !== "")
      .map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
  );
}

/**
 * Lines of text, closed if there are many.
 * @param {string} title
 * @param {string[]} lines
 */
function textList(title, lines) {
  if (!lines.length) return null;
  return element(
    "details",
    { open: lines.length <= OPEN_LINES },
    element("summary", {}, `${title} (${lines.length})`),
    element(
      "ul",
      { class: "changes" },
      lines.map((line) => element("li", {}, line)),
    ),
  );
}

/**
 * A small line of values without axes; empty for fewer than two values.
 * @param {(number | null)[]} values
 * @param {string} colourClass "better", "worse" or ""
 */
function sparkline(values, colourClass) {
  const width = 96;
  const height = 24;
  const margin = 2;
  const svg = svgElement("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  const numbers = values.filter((value) => value !== null);
  if (numbers.length < 2) return svg;
  const low = Math.min(...numbers);
  const range = Math.max(...numbers) - low || 1;
  const points = numbers.map((value, i) => {
    const x = margin + ((width - 2 * margin) * i) / (numbers.length - 1);
    const y = height - margin - ((height - 2 * margin) * (value - low)) / range;
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  });
  svg.append(svgElement("polyline", { points: points.join(" "), class: colourClass }));
  return svg;
}

/**
 * @param {"svg" | "polyline"} tag
 * @param {Record<string, string>} attributes
 */
function svgElement(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/**
 * The element with this id, which index.html has.
 * @param {string} id
 */
function layoutElement(id) {
  const target = document.getElementById(id);
  if (!target) throw new Error(`the page has no element #${id}`);
  return target;
}

/**
 * Let screen readers say what has changed.
 * @param {string} text
 */
function announce(text) {
  layoutElement("announcement").textContent = text;
}
