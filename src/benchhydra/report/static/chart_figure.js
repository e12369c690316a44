"use strict";
// A chart with its title, its legend and its exports. It is drawn when it becomes visible, and anew for another theme.

const CHART_HEIGHT = 250;

/** The charts of the page by their canvases: what an export, a printer and another theme need. @type {Map<HTMLElement, Chart>} */
const chartsOfPage = new Map();

const visibilityObserver = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries)
      if (isIntersecting) drawChart(/** @type {HTMLElement} */ (target));
  },
  { rootMargin: "200px" },
);
const sizeObserver = new ResizeObserver((entries) => {
  for (const { target } of entries) echarts.getInstanceByDom(/** @type {HTMLElement} */ (target))?.resize();
});

/**
 * A chart with its title.
 * @param {string} title
 * @param {() => ChartOption} makeOption called again when the theme or what the legend hides changes
 * @param {FigureOptions} options
 */
function chartFigure(title, makeOption, options = {}) {
  const canvas = element("div", { class: "canvas", role: "img", "aria-label": options.label ?? title });
  canvas.style.height = `${options.height ?? CHART_HEIGHT}px`;
  const legend = options.legend && chartLegend(options.legend);
  const chart = { title, makeOption, options, legend: legend ?? options.sharedLegend };
  chartsOfPage.set(canvas, chart);
  chart.legend?.canvases.add(canvas);
  visibilityObserver.observe(canvas);
  return element(
    "figure",
    { class: options.isLane ? "chart lane" : "chart" },
    element(
      "figcaption",
      {},
      element("h3", {}, title),
      legend?.view,
      exportButtons(canvas, title),
      options.note ? mutedParagraph(options.note) : null,
    ),
    canvas,
  );
}

/** @param {HTMLElement} canvas */
function drawChart(canvas) {
  visibilityObserver.unobserve(canvas);
  const chart = chartsOfPage.get(canvas);
  if (!chart || !canvas.isConnected) return;
  const instance = echarts.getInstanceByDom(canvas) ?? createInstance(canvas, chart.options);
  instance.setOption(chartOption(chart), true);
}

/**
 * @param {Chart} chart
 * @returns {ChartOption}
 */
function chartOption({ makeOption, legend }) {
  return { ...chartDefaults(), legend: { show: false, selected: legend?.selected() ?? {} }, ...makeOption() };
}

/**
 * @param {HTMLElement} canvas
 * @param {FigureOptions} options
 */
function createInstance(canvas, { onclick, group, onzoom }) {
  const instance = echarts.init(canvas, null, { renderer: "canvas" });
  sizeObserver.observe(canvas);
  if (onclick) instance.on("click", onclick);
  if (onzoom)
    instance.on("datazoom", (/** @type {any} */ event) => {
      const { start, end } = event.batch?.[0] ?? event;
      onzoom({ start, end });
    });
  if (group) {
    instance.group = group;
    echarts.connect(group);
  }
  return instance;
}

/** Free the charts that are no longer on the page. */
function disposeRemovedCharts() {
  for (const canvas of chartsOfPage.keys())
    if (!canvas.isConnected) {
      sizeObserver.unobserve(canvas);
      visibilityObserver.unobserve(canvas);
      echarts.getInstanceByDom(canvas)?.dispose();
      chartsOfPage.delete(canvas);
    }
}

/** Draw anew what was drawn. */
function redrawCharts() {
  for (const canvas of chartsOfPage.keys()) redrawChart(canvas);
}

/** @param {HTMLElement} canvas */
function redrawChart(canvas) {
  if (echarts.getInstanceByDom(canvas)) drawChart(canvas);
}

/**
 * The names of a chart's lines, all of them, as buttons that hide and show their lines. Charts may share one.
 * @param {LegendEntry[]} entries
 * @returns {Legend}
 */
function chartLegend(entries) {
  /** @type {Set<string>} */
  const hidden = new Set();
  /** @type {Set<HTMLElement>} */
  const canvases = new Set();
  /** @param {LegendEntry} entry */
  const button = (entry) => {
    const made = element("button", { type: "button", "aria-pressed": "true" }, legendSign(entry), entry.name);
    made.onclick = () => {
      if (!hidden.delete(entry.name)) hidden.add(entry.name);
      made.setAttribute("aria-pressed", String(!hidden.has(entry.name)));
      for (const canvas of canvases) redrawChart(canvas);
    };
    return element("li", {}, made);
  };
  return {
    entries,
    canvases,
    selected: () => Object.fromEntries(entries.map(({ name }) => [name, !hidden.has(name)])),
    view: element("ul", { class: "legend", "aria-label": "Lines" }, entries.map(button)),
  };
}

/**
 * The line or the point beside a name.
 * @param {LegendEntry} entry
 */
function legendSign({ colour, dash, isPoint }) {
  const sign = element("span", { class: `sign ${isPoint ? "point" : (dash ?? "solid")}`, "aria-hidden": "true" });
  sign.style.setProperty("--sign", `var(${colour})`);
  return sign;
}
