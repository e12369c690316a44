"use strict";
// What all charts share: colours of the theme, axes with units, tooltips made of text, drawing when they become visible.

const PALETTE = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7", "--c8"];
const CHART_HEIGHT = 280;

/** How to draw each canvas. @type {WeakMap<Element, () => void>} */
const drawFunctions = new WeakMap();
/** Canvases that were drawn and not disposed of. @type {Set<HTMLElement>} */
const drawnCanvases = new Set();

const visibilityObserver = new IntersectionObserver(
  (entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) drawFunctions.get(target)?.();
  },
  { rootMargin: "200px" },
);
const sizeObserver = new ResizeObserver((entries) => {
  for (const { target } of entries) echarts.getInstanceByDom(/** @type {HTMLElement} */ (target))?.resize();
});

/**
 * A value of the theme, a CSS variable.
 * @param {string} name
 */
function themeColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** @param {number} i */
function lineColour(i) {
  return themeColour(PALETTE[i % PALETTE.length]);
}

/**
 * A chart with its title.
 * @param {string} title
 * @param {() => ChartOption} makeOption called again when the theme changes
 * @param {FigureOptions} options
 */
function chartFigure(title, makeOption, options = {}) {
  const canvas = element("div", { class: "canvas", role: "img", "aria-label": options.label ?? title });
  canvas.style.height = `${options.height ?? CHART_HEIGHT}px`;
  drawFunctions.set(canvas, () => drawChart(canvas, makeOption, options));
  visibilityObserver.observe(canvas);
  const note = options.note ? mutedParagraph(options.note) : null;
  return element("figure", { class: "chart" }, element("figcaption", {}, element("h3", {}, title), note), canvas);
}

/**
 * @param {HTMLElement} canvas
 * @param {() => ChartOption} makeOption
 * @param {FigureOptions} options
 */
function drawChart(canvas, makeOption, options) {
  visibilityObserver.unobserve(canvas);
  if (!canvas.isConnected) return;
  const chart = echarts.getInstanceByDom(canvas) ?? createChart(canvas, options);
  chart.setOption({ ...chartDefaults(), ...makeOption() }, true);
}

/**
 * @param {HTMLElement} canvas
 * @param {FigureOptions} options
 */
function createChart(canvas, { onclick, group, onzoom }) {
  const chart = echarts.init(canvas, null, { renderer: "canvas" });
  sizeObserver.observe(canvas);
  drawnCanvases.add(canvas);
  if (onclick) chart.on("click", onclick);
  if (onzoom)
    chart.on("datazoom", (/** @type {any} */ event) => {
      const { start, end } = event.batch?.[0] ?? event;
      onzoom({ start, end });
    });
  if (group) {
    chart.group = group;
    echarts.connect(group);
  }
  return chart;
}

/** Free the charts that are no longer on the page. */
function disposeRemovedCharts() {
  for (const canvas of drawnCanvases)
    if (!canvas.isConnected) {
      sizeObserver.unobserve(canvas);
      echarts.getInstanceByDom(canvas)?.dispose();
      drawnCanvases.delete(canvas);
    }
}

function redrawCharts() {
  for (const canvas of drawnCanvases) drawFunctions.get(canvas)?.();
}

/** @returns {ChartOption} */
function chartDefaults() {
  return {
    animation: false,
    color: PALETTE.map(themeColour),
    backgroundColor: "transparent",
    textStyle: { fontFamily: "system-ui, sans-serif", color: themeColour("--text") },
    aria: { enabled: false },
    grid: chartGrid(),
  };
}

/** @param {import("echarts").GridComponentOption} changes */
function chartGrid(changes = {}) {
  return { left: 12, right: 18, top: 40, bottom: 34, containLabel: true, ...changes };
}

/**
 * Ticks are round figures that may lie close together.
 * @param {number} value
 */
function formatTick(value) {
  return value.toLocaleString("en-US", { maximumFractionDigits: 6 });
}

function axisLabelStyle() {
  return { color: themeColour("--muted"), fontSize: 11, hideOverlap: true };
}

/** Labels of an axis whose ends are no round figures: the ends have none. */
function innerLabelStyle() {
  return { ...axisLabelStyle(), formatter: formatTick, showMinLabel: false, showMaxLabel: false };
}

/**
 * A horizontal axis with its name and unit.
 * @param {string} name
 * @param {Record<string, any>} changes
 * @returns {any}
 */
function chartAxis(name, changes = {}) {
  return {
    type: "value",
    name,
    nameLocation: "middle",
    nameGap: 28,
    nameTextStyle: { color: themeColour("--muted"), fontSize: 12 },
    axisLine: { lineStyle: { color: themeColour("--line") } },
    axisLabel: { ...axisLabelStyle(), formatter: formatTick },
    splitLine: { lineStyle: { color: themeColour("--line"), opacity: 0.7 } },
    axisTick: { show: false },
    ...changes,
  };
}

/**
 * A vertical axis, named above its end: figures of any width have room.
 * @param {string} name
 * @param {Record<string, any>} changes
 */
function verticalAxis(name, changes = {}) {
  return chartAxis(name, {
    nameLocation: "end",
    nameGap: 14,
    nameTextStyle: { color: themeColour("--muted"), fontSize: 12, align: "left" },
    ...changes,
  });
}

/** @param {Record<string, any>} changes */
function chartLegend(changes = {}) {
  return {
    type: /** @type {"scroll"} */ ("scroll"),
    top: 0,
    right: 0,
    left: 90,
    itemWidth: 18,
    itemHeight: 9,
    icon: "roundRect",
    align: /** @type {"left"} */ ("left"),
    pageIconColor: themeColour("--accent"),
    pageTextStyle: { color: themeColour("--muted") },
    textStyle: { color: themeColour("--muted"), fontSize: 11, lineHeight: 16 }, // lower lines are clipped
    itemStyle: { opacity: 1 },
    ...changes,
  };
}

function tooltipStyle() {
  return {
    confine: true,
    backgroundColor: themeColour("--panel"),
    borderColor: themeColour("--line"),
    textStyle: { color: themeColour("--text"), fontSize: 12 },
    extraCssText: "max-width:min(30rem,90vw);white-space:normal",
  };
}

/**
 * The tooltip of a single point. An empty list of lines shows none.
 * @param {(point: ChartPoint) => (string | false)[]} lines the first one is the head
 */
function pointTooltip(lines) {
  return {
    ...tooltipStyle(),
    trigger: /** @type {"item"} */ ("item"),
    formatter: (/** @type {any} */ point) => tooltipText(lines(point)),
  };
}

/**
 * The tooltip of all series at one place of the horizontal axis.
 * @param {(x: number) => string} head
 * @param {string} unit
 */
function axisTooltip(head, unit) {
  const lines = (/** @type {ChartPoint[]} */ points) => [
    head(points[0].value[0]),
    ...points
      .filter(({ value }) => value[1] !== null && value[1] !== undefined)
      .map(({ seriesName, value }) => `${seriesName}: ${formatFigure(value[1], unit)}`),
  ];
  return {
    ...tooltipStyle(),
    trigger: /** @type {"axis"} */ ("axis"),
    axisPointer: { type: /** @type {"line"} */ ("line"), lineStyle: { color: themeColour("--muted") } },
    formatter: (/** @type {any} */ points) => tooltipText(lines(points)),
  };
}

/** @param {(string | false)[]} lines */
function tooltipText(lines) {
  const [head, ...rest] = lines.filter((line) => line !== false && line !== "");
  if (head === undefined) return "";
  return element(
    "div",
    { class: "tip" },
    element("strong", {}, head),
    rest.map((line) => element("div", {}, line)),
  );
}

/**
 * @param {string} name
 * @param {unknown[]} data points as arrays or objects
 * @param {LineSeries} changes
 * @returns {LineSeries}
 */
function lineSeries(name, data, changes = {}) {
  const points = /** @type {LineSeries["data"]} */ (data);
  return { type: "line", name, data: points, showSymbol: false, symbolSize: 6, lineStyle: { width: 1.6 }, ...changes };
}

/**
 * Zoom along the horizontal axis: a slider, dragging, and the wheel with Ctrl (the wheel alone scrolls the page).
 * @param {Record<string, any>} changes
 */
function horizontalZoom(changes = {}) {
  /** @type {import("echarts").InsideDataZoomComponentOption} */
  const inside = { type: "inside", zoomOnMouseWheel: "ctrl", moveOnMouseMove: true, preventDefaultMouseMove: false };
  /** @type {import("echarts").SliderDataZoomComponentOption} */
  const slider = {
    type: "slider",
    height: 16,
    bottom: 8,
    showDetail: false,
    borderColor: themeColour("--line"),
    fillerColor: themeColour("--band"),
    handleSize: "80%",
    brushSelect: false,
  };
  return [
    { ...inside, ...changes },
    { ...slider, ...changes },
  ];
}
