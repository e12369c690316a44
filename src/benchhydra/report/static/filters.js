"use strict";
// Form controls that show and change keys of the address.

/** @param {Child[]} controls */
function filterForm(...controls) {
  return element("form", { class: "filters", onsubmit: (event) => event.preventDefault() }, ...controls);
}

/**
 * A labelled select. An address without the key means the default value.
 * @param {string} key
 * @param {string} label
 * @param {[value: string, text: string][]} options
 * @param {string} defaultValue
 */
function filterSelect(key, label, options, defaultValue = "") {
  const value = currentAddress().query[key] ?? defaultValue;
  const select = element(
    "select",
    {
      id: `filter-${key}`,
      onchange: () => changeQuery({ [key]: select.value === defaultValue ? "" : select.value }),
    },
    options.map(([option, text]) => element("option", { value: option, selected: option === value }, text)),
  );
  return element("label", { class: "field" }, element("span", {}, label), select);
}

/**
 * A select of all values, with "all" first.
 * @param {string} key
 * @param {string} label
 * @param {string[]} values with repetitions
 */
function valueFilter(key, label, values) {
  const unique = [...new Set(values)].sort();
  return filterSelect(key, label, [
    ["", `all (${unique.length})`],
    ...unique.map((value) => /** @type {[string, string]} */ ([value, value || "(none)"])),
  ]);
}

/**
 * A labelled search field. Typing adds no entries to the browser's history.
 * @param {string} key
 * @param {string} label
 */
function filterSearch(key, label) {
  const input = element("input", {
    id: `filter-${key}`,
    type: "search",
    value: currentAddress().query[key] ?? "",
    oninput: () => changeQuery({ [key]: input.value }, { replace: true }),
  });
  return element("label", { class: "field wide" }, element("span", {}, label), input);
}

/**
 * Buttons of which one is pressed; the first one is the default.
 * @param {string} key
 * @param {string} label
 * @param {[value: string, text: string][]} options
 */
function filterToggle(key, label, options) {
  const pressed = currentAddress().query[key] ?? options[0][0];
  const buttons = options.map(([value, text], i) =>
    element(
      "button",
      {
        type: "button",
        id: `toggle-${key}-${value}`,
        "aria-pressed": String(value === pressed),
        onclick: () => changeQuery({ [key]: i === 0 ? "" : value }),
      },
      text,
    ),
  );
  return element(
    "div",
    { class: "field", role: "group", "aria-label": label },
    element("span", { "aria-hidden": "true" }, label),
    element("span", { class: "toggle" }, buttons),
  );
}

/**
 * A select of metrics with their units.
 * @param {string[]} names
 */
function metricSelect(names) {
  return filterSelect(
    "metric",
    "Metric",
    names.map((name) => [name, `${name} (${reportIndex.metrics[name].unit})`]),
    chooseMetric(names, undefined),
  );
}

/**
 * The metric that is asked for, else the most telling one, else the first; "" where there is none.
 * @param {string[]} names
 * @param {string | undefined} wanted
 */
function chooseMetric(names, wanted) {
  return [wanted, "p99_ttft_ms", "mean_ttft_ms", ...names].find((name) => name && names.includes(name)) ?? "";
}
