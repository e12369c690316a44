"use strict";
// Whatever was sampled while a load ran: one chart for each family of series, all with the same time axis and zoom.

const SERIES_HEIGHT = 240;
/** Lines with fewer samples than this show each sample. */
const SAMPLES_WITH_SYMBOLS = 120;

/**
 * Series of the same source (the name before the first dot) and unit.
 * @typedef {{ source: string, unit: string, series: Series[] }} SeriesFamily
 */

/** @param {Series[]} series */
function seriesSection(series) {
  const families = seriesFamilies(series);
  /** Charts that are drawn later, or drawn anew for another theme, start with the zoom of the others. @type {ZoomRange} */
  const zoom = { start: 0, end: 100 };
  /** All charts have the same time axis, from the first send or an earlier sample. @type {[number, number]} */
  const range = [
    Math.min(0, ...series.flatMap(({ seconds }) => seconds.slice(0, 1))),
    Math.max(...series.flatMap(({ seconds }) => seconds.slice(-1))),
  ];
  return [
    element("h2", {}, "Over time"),
    element(
      "div",
      { class: "charts" },
      families.map((family) => seriesChart(family, range, zoom)),
    ),
  ];
}

/**
 * Families in order of their first series.
 * @param {Series[]} series
 * @returns {SeriesFamily[]}
 */
function seriesFamilies(series) {
  /** @type {Map<string, SeriesFamily>} */
  const families = new Map();
  for (const one of series.filter(({ values }) => values.some((value) => value !== null))) {
    const [source] = one.name.split(".");
    const key = JSON.stringify([source, one.unit]);
    const family = families.get(key) ?? { source, unit: one.unit, series: [] };
    family.series.push(one);
    families.set(key, family);
  }
  return [...families.values()];
}

/**
 * @param {SeriesFamily} family
 * @param {[start: number, end: number]} range of the time axis in seconds
 * @param {ZoomRange} zoom
 */
function seriesChart(family, [min, max], zoom) {
  const names = [...new Set(family.series.map(({ name }) => name))];
  const makeOption = () => ({
    legend: chartLegend({ show: family.series.length > 1, left: 0 }),
    grid: chartGrid({ top: family.series.length > 1 ? 30 : 12, bottom: 56 }),
    xAxis: chartAxis("s after the first send", { min, max, axisLabel: innerLabelStyle() }),
    yAxis: verticalAxis("", { scale: true }), // the title has the unit
    dataZoom: horizontalZoom(zoom),
    tooltip: axisTooltip((second) => `${formatNumber(second)} s`, family.unit),
    series: family.series.map((series, i) => seriesLine(series, seriesLabel(series, names.length > 1), i)),
  });
  const title = names.length === 1 ? names[0] : family.source;
  return chartFigure(`${title}${family.unit ? `, ${family.unit}` : ""}`, makeOption, {
    height: SERIES_HEIGHT,
    label: `${names.join(", ")} over time`,
    group: "series",
    onzoom: (range) => Object.assign(zoom, range),
  });
}

/**
 * @param {Series} series
 * @param {string} label
 * @param {number} i
 */
function seriesLine(series, label, i) {
  return lineSeries(
    label,
    series.seconds.map((second, k) => [second, series.values[k]]),
    {
      showSymbol: series.seconds.length < SAMPLES_WITH_SYMBOLS,
      symbolSize: 4,
      // The colours repeat after the last one, with dashes.
      lineStyle: { width: 1.6, type: i < PALETTE.length ? "solid" : "dashed" },
    },
  );
}

/**
 * What distinguishes a series from others of its chart: its name without the source, and its labels: "power gpu=0".
 * @param {Series} series
 * @param {boolean} withName false where all have the same name
 */
function seriesLabel({ name, labels }, withName) {
  const short = name.slice(name.indexOf(".") + 1);
  const texts = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  return (withName || !texts.length ? [short, ...texts] : texts).join(" ");
}
