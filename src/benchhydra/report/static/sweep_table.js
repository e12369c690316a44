"use strict";
// The tables of a sweep: its points, a row each, or its runs.

/**
 * @param {SweepData} sweep
 * @param {SweepTable} table
 * @param {number} shown how many metrics, from the first
 */
function sweepPointTable({ benchmarks }, table, shown) {
  /** @type {Column<SweepPointRow>[]} */
  const columns = [
    ...table.settings.map((setting, i) => settingColumn(benchmarks, setting, i)),
    ...(table.settings.length ? [] : [pointNameColumn(benchmarks)]),
    ...table.metrics.slice(0, shown).map(pointMetricColumn),
    { name: "Runs", cell: (row) => runLinks(benchmarks, row) },
    { name: "Verdict", sort: (row) => row.verdict, cell: (row) => verdictBadge(row.verdict, row.reasons) },
  ];
  return dataTable(`Points of ${table.script}`, columns, table.points);
}

/**
 * A key that distinguishes the points; the first one names its row, with a link to all runs of the point.
 * @param {SweepData["benchmarks"]} benchmarks
 * @param {SweepTable["settings"][number]} setting
 * @param {number} i
 * @returns {Column<SweepPointRow>}
 */
function settingColumn(benchmarks, { key, name }, i) {
  const text = (/** @type {SweepPointRow} */ row) => settingText(row.settings[i]);
  return {
    name,
    title: key,
    head: i === 0,
    nowrap: true,
    sort: (row) => row.settings[i],
    cell: (row) => (i === 0 ? link(pointAddress(benchmarks, row), text(row)) : text(row)),
  };
}

/** @param {string | number | null} value */
function settingText(value) {
  return typeof value === "number" ? formatNumber(value) : (value ?? "–");
}

/**
 * @param {SweepData["benchmarks"]} benchmarks
 * @returns {Column<SweepPointRow>}
 */
function pointNameColumn(benchmarks) {
  return { name: "Point", head: true, cell: (row) => link(pointAddress(benchmarks, row), row.name) };
}

/**
 * The page of a point's history.
 * @param {SweepData["benchmarks"]} benchmarks
 * @param {SweepPointRow} row
 */
function pointAddress(benchmarks, { runs }) {
  return pageAddress(["benchmark", benchmarks[runs[0]]]);
}

/**
 * @param {SweepData["benchmarks"]} benchmarks
 * @param {SweepPointRow} row
 */
function runLinks(benchmarks, { runs, usable }) {
  const links = runs.map((run, i) => [i ? " " : "", link(runAddress(benchmarks[run], run), `${i + 1}`)]);
  return [links, usable < runs.length ? ` (${usable} usable)` : ""];
}

/**
 * The median of the repeats, and half of the range between the smallest and the largest value.
 * @param {string} name
 * @param {number} i
 * @returns {Column<SweepPointRow>}
 */
function pointMetricColumn(name, i) {
  return {
    ...metricColumnHead(name),
    sort: (row) => row.values[i]?.[0],
    cell: (row) => [formatNumber(row.values[i]?.[0]), rankSign(row.ranks[i]), spreadLabel(row, i)],
    shade: (row) => rankClass(row.ranks[i]),
  };
}

/**
 * @param {SweepPointRow} row
 * @param {number} i
 */
function spreadLabel({ values, spreads, usable }, i) {
  const spread = spreads[i];
  if (spread === null) return null;
  const [, low, high] = values[i] ?? [];
  const title = `${formatNumber(low)} to ${formatNumber(high)} in ${usable} runs`;
  return element("span", { class: "spread", title }, ` ±${(spread * 100).toFixed(1)} %`);
}

/**
 * @param {SweepData} sweep
 * @param {SweepTable} table
 * @param {number} shown how many metrics, from the first
 */
function sweepRunTable({ benchmarks }, table, shown) {
  /** @type {Column<SweepRow>[]} */
  const columns = [
    {
      name: "Run",
      head: true,
      sort: (row) => row.name,
      cell: (row) => link(runAddress(benchmarks[row.run], row.run), sweepRowLabel(row)),
    },
    ...table.metrics.slice(0, shown).map(runMetricColumn),
    { name: "Verdict", sort: (row) => row.verdict, cell: (row) => verdictBadge(row.verdict, row.reasons) },
  ];
  return dataTable(`Runs of ${table.script}`, columns, table.runs);
}

/**
 * @param {string} name
 * @param {number} i
 * @returns {Column<SweepRow>}
 */
function runMetricColumn(name, i) {
  return { ...metricColumnHead(name), sort: (row) => row.values[i], cell: (row) => formatNumber(row.values[i]) };
}

/** @param {string} name */
function metricColumnHead(name) {
  const metric = reportIndex.metrics[name];
  return {
    name: metricTitle(name),
    unit: ` ${metric.unit} ${directionArrow(metric)}`,
    title: `${name}: ${metric.doc} (${directionWords(metric)})`,
    numeric: true,
  };
}

/**
 * The class of a cell's colour: the best third and the worst third of the range, and their ends, have one.
 * @param {number | null | undefined} rank
 */
function rankClass(rank) {
  if (rank === null || rank === undefined) return "";
  if (rank === 0) return "best";
  if (rank === 1) return "worst";
  if (rank < 0.34) return "good";
  return rank > 0.66 ? "bad" : "";
}

/**
 * A sign beside the best and the worst value: colour alone would say nothing to some readers.
 * @param {number | null | undefined} rank
 */
function rankSign(rank) {
  if (rank === 0) return element("span", { class: "rank better", title: "best at this load" }, " ▲");
  if (rank === 1) return element("span", { class: "rank worse", title: "worst at this load" }, " ▼");
  return null;
}
