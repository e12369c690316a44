"use strict";
// What a reader takes along: a chart as PNG or SVG, a table as CSV, and charts on paper.

const EXPORT_SCALE = 2;
const TITLE_HEIGHT = 30;
const LEGEND_LINE_HEIGHT = 20;
/** Pixels that a letter of a legend and the sign beside a name take. */
const LEGEND_LETTER = 6.4;
const LEGEND_SIGN = 44;
const PRINTED_WIDTH = 520;
/** First characters with which a spreadsheet takes a cell for a formula, also in their wide forms. */
const FORMULA = /^[=+\-@\uff1d\uff0b\uff0d\uff20]/;

/**
 * @param {HTMLElement} canvas
 * @param {string} title
 */
function exportButtons(canvas, title) {
  return exportGroup(
    exportButton("PNG", title, () => saveFile(fileName(title, "png"), pngBlob(canvas))),
    exportButton("SVG", title, () =>
      saveFile(fileName(title, "svg"), new Blob([chartSvg(canvas)], { type: "image/svg+xml" })),
    ),
  );
}

/**
 * Buttons that save files; none in a sandboxed frame, which may not.
 * @param {Child[]} buttons
 */
function exportGroup(...buttons) {
  return isSandboxed ? null : element("span", { class: "exports" }, ...buttons);
}

/**
 * @param {string} format
 * @param {string} title of what is exported
 * @param {() => void} onclick
 */
function exportButton(format, title, onclick) {
  return element("button", { type: "button", "aria-label": `${format} of ${title}`, onclick }, format);
}

/**
 * @param {string} title
 * @param {string} ending
 */
function fileName(title, ending) {
  const name = title.toLowerCase().replace(/[^a-z0-9]+/g, "-");
  return `${name.replace(/^-|-$/g, "").slice(0, 80) || "chart"}.${ending}`;
}

/**
 * @param {string} name
 * @param {Blob} blob
 */
function saveFile(name, blob) {
  const address = URL.createObjectURL(blob);
  const anchor = element("a", { download: name });
  anchor.href = address;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000); // the browser may still be reading it
  announce(`saved ${name}`);
}

/**
 * The chart as an SVG text, with its title and its legend.
 * @param {HTMLElement} canvas
 * @param {number} width
 */
function chartSvg(canvas, width = canvas.clientWidth) {
  const { option, height } = exportedOption(canvas, width);
  const instance = echarts.init(null, null, { renderer: "svg", ssr: true, width, height });
  instance.setOption(option);
  const text = instance.renderToSVGString();
  instance.dispose();
  return text;
}

/** @param {HTMLElement} canvas */
function pngBlob(canvas) {
  const width = canvas.clientWidth;
  const { option, height } = exportedOption(canvas, width);
  const place = document.createElement("div");
  const instance = echarts.init(place, null, { width, height, devicePixelRatio: EXPORT_SCALE });
  instance.setOption(option);
  const data = instance.getDataURL({ type: "png", pixelRatio: EXPORT_SCALE, backgroundColor: themeColour("--panel") });
  instance.dispose();
  const bytes = Uint8Array.from(atob(data.split(",")[1]), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: "image/png" });
}

/**
 * What is drawn alone: with a title and a legend above it, without the slider of the zoom.
 * @param {HTMLElement} canvas
 * @param {number} width
 */
function exportedOption(canvas, width) {
  const chart = /** @type {Chart} */ (chartsOfPage.get(canvas));
  const option = /** @type {any} */ (chartOption(chart));
  const entries = chart.legend?.entries ?? [];
  const top = TITLE_HEIGHT + LEGEND_LINE_HEIGHT * legendLines(entries, width);
  const lower = (/** @type {any} */ grid) => (grid.top === undefined ? grid : { ...grid, top: grid.top + top });
  return {
    height: (chart.options.height ?? CHART_HEIGHT) + top,
    option: {
      ...option,
      backgroundColor: themeColour("--panel"),
      title: {
        text: chart.title,
        left: 12,
        top: 8,
        textStyle: { fontSize: 14, color: themeColour("--text") },
      },
      legend: exportedLegend(option.legend, entries),
      grid: Array.isArray(option.grid) ? option.grid.map(lower) : lower(option.grid),
      dataZoom: option.dataZoom?.map((/** @type {any} */ zoom) => ({ ...zoom, show: false })),
    },
  };
}

/**
 * @param {any} legend that of the page's chart, which is hidden
 * @param {LegendEntry[]} entries
 */
function exportedLegend(legend, entries) {
  return {
    ...legend,
    show: entries.length > 0,
    type: "plain",
    left: 12,
    right: 12,
    top: TITLE_HEIGHT,
    itemHeight: 9,
    data: entries.map(exportedEntry),
    textStyle: { color: themeColour("--muted"), fontSize: 11 },
  };
}

/**
 * @param {LegendEntry} entry
 */
function exportedEntry({ name, colour, dash, isPoint }) {
  const color = themeColour(colour);
  return {
    name,
    icon: isPoint ? "circle" : "path://M0,4 H20 V6 H0 Z",
    itemStyle: { color, opacity: dash === "dashed" ? 0.6 : 1 },
    lineStyle: { color },
  };
}

/**
 * How many lines a legend takes.
 * @param {LegendEntry[]} entries
 * @param {number} width
 */
function legendLines(entries, width) {
  const widths = entries.map(({ name }) => name.length * LEGEND_LETTER + LEGEND_SIGN);
  return Math.ceil((1.15 * widths.reduce((sum, one) => sum + one, 0)) / width);
}

// ---- Tables

/**
 * A table as CSV: the texts of its cells, figures with all digits.
 * @template Row
 * @param {Column<Row>[]} columns
 * @param {Row[]} rows
 */
function tableCsv(columns, rows) {
  const heads = columns.map(({ name, unit }) => csvText([name, unit?.trim()].filter(Boolean).join(" ")));
  const lines = rows.map((row) => columns.map((column) => csvCell(column, row)).join(","));
  return `${[heads.join(","), ...lines].join("\r\n")}\r\n`;
}

/**
 * @template Row
 * @param {Column<Row>} column
 * @param {Row} row
 */
function csvCell({ numeric, value, sort, cell }, row) {
  const key = value ?? (numeric ? sort : undefined);
  const figure = key?.(row);
  if (typeof figure === "number") return String(figure);
  if (figure === null) return "";
  return csvText(figure ?? element("span", {}, cell(row)).textContent ?? "");
}

/**
 * A text in one cell, with a quote before what a spreadsheet would take for a formula.
 * @param {string} text
 */
function csvText(text) {
  const line = text.replace(/\s+/g, " ").trim();
  const safe = FORMULA.test(line) && !isNumber(line) ? `'${line}` : line;
  return /[",]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** @param {string} text */
function isNumber(text) {
  return text !== "" && Number.isFinite(Number(text));
}

// ---- Paper

/** Charts on paper are images of the light theme that fit its width. */
function startPrinting() {
  window.addEventListener("beforeprint", addPrintedCharts);
  window.addEventListener("afterprint", removePrintedCharts);
}

function addPrintedCharts() {
  removePrintedCharts();
  const { theme } = document.documentElement.dataset;
  document.documentElement.dataset.theme = "light";
  for (const canvas of chartsOfPage.keys()) {
    const image = document.createElement("img");
    image.className = "printed";
    image.alt = canvas.getAttribute("aria-label") ?? "";
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(chartSvg(canvas, PRINTED_WIDTH))}`;
    canvas.after(image);
  }
  document.documentElement.dataset.screenTheme = theme;
}

function removePrintedCharts() {
  const { screenTheme } = document.documentElement.dataset;
  if (screenTheme === undefined) return;
  for (const image of document.querySelectorAll(".printed")) image.remove();
  document.documentElement.dataset.theme = screenTheme;
  delete document.documentElement.dataset.screenTheme;
}
