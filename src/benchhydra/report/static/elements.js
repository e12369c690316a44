"use strict";
// Elements, numbers and dates. Every text of the data becomes a text node: nothing here parses HTML.

window.bh = { views: {} };

/** An element. props: class, href, id, other attributes; functions under onclick, oninput, ... */
bh.h = (tag, props, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props || {})) {
    if (value === undefined || value === null || value === false) continue;
    if (typeof value === "function") element[name] = value;
    else if (name === "href") element.setAttribute("href", bh.safeHref(value));
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
};

/** A link inside the page, or to the web; anything else (javascript:, data:) leads nowhere. */
bh.safeHref = (address) => (/^(#|https?:\/\/)/i.test(address) ? address : "#");

bh.link = (address, text, props) => {
  const away = !address.startsWith("#");
  return bh.h(
    "a",
    { href: address, ...(away ? { rel: "noopener noreferrer", target: "_blank" } : {}), ...props },
    text,
  );
};

/** Four significant digits, thousands separated, never an exponent: 0.1234, 12.34, 1,234. */
bh.number = (value) => {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (Number.isInteger(value) && size < 1e15) return value.toLocaleString("en-US");
  const digits =
    size >= 1000
      ? 0
      : size >= 100
        ? 1
        : size >= 10
          ? 2
          : size >= 1
            ? 3
            : size >= 0.1
              ? 4
              : Math.min(12, 2 - Math.floor(Math.log10(size)));
  return value.toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
};

bh.figure = (value, unit) => (value === null || value === undefined ? "–" : `${bh.number(value)} ${unit || ""}`.trim());

/** 0.031 -> "+3.1 %" */
bh.percent = (ratio) => {
  if (ratio === null || ratio === undefined) return "–";
  return `${ratio < 0 ? "−" : "+"}${Math.abs(ratio * 100).toFixed(1)} %`;
};

bh.date = (seconds) => new Date(seconds * 1000).toISOString().slice(0, 10);
bh.minute = (seconds) => `${new Date(seconds * 1000).toISOString().slice(0, 16).replace("T", " ")} UTC`;
bh.second = (seconds) => `${new Date(seconds * 1000).toISOString().slice(0, 19).replace("T", " ")} UTC`;
bh.commit = (sha) => sha.slice(0, 10);

/** "better", "worse" or "" of a ratio - 1, or of a known direction. */
bh.direction = (better) => (better === true ? "better" : better === false ? "worse" : "");

bh.arrow = (metric) => ({ BiggerIsBetter: "↑", SmallerIsBetter: "↓" })[metric.better] || "";
bh.arrowSaid = (metric) =>
  ({ BiggerIsBetter: "higher is better", SmallerIsBetter: "lower is better" })[metric.better] || "no direction";

/** A verdict as a badge: colour, sign and word. */
bh.verdict = (said, reasons) => {
  const word = said.split(",")[0];
  const sign = { VALID: "●", SUSPECT: "◆", INVALID: "✕" }[word] || "?";
  const title = (reasons || []).join("\n");
  return bh.h(
    "span",
    { class: `verdict ${word.toLowerCase()}`, title: title || null },
    bh.h("span", { "aria-hidden": "true" }, sign),
    ` ${said}`,
  );
};

/** A change of level as text with its direction's colour. */
bh.changeText = (ratio, better) => {
  if (ratio === null || ratio === undefined) return "";
  const word = bh.direction(better);
  return bh.h("span", { class: word }, `${bh.percent(ratio)}${word ? ` ${word}` : ""}`);
};

/** The commit as a link where its repository is known. */
bh.commitLink = (sha) => {
  if (!sha) return "–";
  const repository = bh.index.repository;
  const text = bh.h("code", {}, bh.commit(sha));
  return repository && /^[0-9a-f]{7,40}$/i.test(sha) ? bh.link(`${repository}/commit/${sha}`, text) : text;
};

/** A small line of values; drawn only where there are two. */
bh.spark = (values, change) => {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("class", "spark");
  svg.setAttribute("viewBox", "0 0 96 24");
  svg.setAttribute("aria-hidden", "true");
  if (values.length < 2) return svg;
  const low = Math.min(...values);
  const span = Math.max(...values) - low || 1;
  const line = document.createElementNS("http://www.w3.org/2000/svg", "polyline");
  const at = (value, i) =>
    `${(2 + (92 * i) / (values.length - 1)).toFixed(1)},${(21 - (18 * (value - low)) / span).toFixed(1)}`;
  line.setAttribute("points", values.map(at).join(" "));
  line.setAttribute("class", change || "");
  svg.append(line);
  return svg;
};

/** Tells screen readers what has just changed. */
bh.say = (text) => {
  document.getElementById("said").textContent = text;
};

/** What a benchmark is called. */
bh.label = (one) => [one.script, one.model, one.dataset, one.qps && `qps=${one.qps}`].filter(Boolean).join(" ");
bh.fullLabel = (one) => [bh.label(one), one.apart].filter(Boolean).join(" · ");
