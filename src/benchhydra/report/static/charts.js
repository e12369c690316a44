"use strict";
// What all charts share: colours of the theme, axes with units, tooltips made of text, lines, zoom.

const PALETTE = ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7", "--c8"];

/**
 * A value of the theme, a CSS variable.
 * @param {string} name
 */
function themeColour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/**
 * The name of the colour of a line; the colours repeat after the last one.
 * @param {number} i
 */
function colourName(i) {
  return PALETTE[i % PALETTE.length];
}

/** @param {number} i */
function lineColour(i) {
  return themeColour(colourName(i));
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
  return { left: 12, right: 18, top: 28, bottom: 34, containLabel: true, ...changes };
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

/**
 * A vertical axis of names, from below.
 * @param {string[]} names
 */
function nameAxis(names) {
  return {
    type: /** @type {"category"} */ ("category"),
    data: names,
    axisLabel: {
      color: themeColour("--muted"),
      fontSize: 11,
      width: Math.min(210, innerWidth * 0.3),
      overflow: /** @type {"truncate"} */ ("truncate"),
    },
    axisTick: { show: false },
    axisLine: { lineStyle: { color: themeColour("--line") } },
  };
}

/** @returns {LineSeries["markLine"]} */
function zeroLine() {
  return {
    silent: true,
    symbol: "none",
    label: { show: false },
    lineStyle: { color: themeColour("--muted"), type: "solid" },
    data: [{ xAxis: 0 }],
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
    showDataShadow: false,
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
