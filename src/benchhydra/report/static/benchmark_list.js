"use strict";
// The page of all benchmarks, with their filters.

/** @typedef {BenchmarkSummary & { summary: MetricSummary | null }} BenchmarkRow */

/** @type {["model" | "script" | "dataset" | "machine", string][]} */
const BENCHMARK_FILTERS = [
  ["model", "Model"],
  ["script", "Script"],
  ["dataset", "Dataset"],
  ["machine", "Machine"],
];

/** @type {Page} */
async function benchmarkListPage({ query }) {
  const names = Object.keys(reportIndex.metrics);
  const name = chooseMetric(names, query.metric);
  const all = await benchmarkRows(name);
  const rows = all.filter((row) => matchesFilters(row, query));
  announce(`${rows.length} benchmarks`);
  return [
    pageHeading("History"),
    filterForm(
      BENCHMARK_FILTERS.map(([key, label]) =>
        valueFilter(
          key,
          label,
          all.map((row) => row[key]),
        ),
      ),
      metricSelect(names),
      filterSearch("q", "Search"),
      link(pageAddress(["history"]), "Reset", { class: "button quiet" }),
    ),
    mutedParagraph(`${rows.length} of ${all.length} benchmarks. ${metricSentence(name)}`),
    rows.length ? benchmarkTable(rows, name) : element("p", {}, "No benchmark matches these filters."),
  ];
}

/**
 * The benchmarks with a summary of one metric.
 * @param {string} metric "" where no run has any
 * @returns {Promise<BenchmarkRow[]>}
 */
async function benchmarkRows(metric) {
  const { benchmarks, metrics } = reportIndex;
  const summaries = metric ? (await loadPiece(`metrics/${metrics[metric].file}`)).rows : [];
  return benchmarks.map((benchmark, i) => ({ ...benchmark, summary: summaries[i] ?? null }));
}

/**
 * @param {BenchmarkRow} row
 * @param {Record<string, string>} query
 */
function matchesFilters(row, query) {
  const text = `${fullBenchmarkLabel(row)} ${row.machine} ${row.description}`.toLowerCase();
  const words = (query.q ?? "").toLowerCase().split(/\s+/);
  return (
    BENCHMARK_FILTERS.every(([key]) => !query[key] || row[key] === query[key]) &&
    words.every((word) => text.includes(word))
  );
}

/** @param {string} name */
function metricSentence(name) {
  const metric = reportIndex.metrics[name];
  return metric ? `${name}: ${metric.doc || directionWords(metric)}` : "";
}

/**
 * @param {BenchmarkRow[]} rows
 * @param {string} metric
 */
function benchmarkTable(rows, metric) {
  return dataTable("Benchmarks", [...metricColumns(metric), ...runColumns()], rows);
}

/**
 * @param {string} metric
 * @returns {Column<BenchmarkRow>[]}
 */
function metricColumns(metric) {
  const description = reportIndex.metrics[metric];
  return [
    {
      name: "Benchmark",
      head: true,
      sort: fullBenchmarkLabel,
      cell: (row) => link(pageAddress(["benchmark", row.id], { metric }), benchmarkCell(row)),
    },
    {
      name: "Newest",
      unit: description ? ` ${description.unit} ${directionArrow(description)}` : "",
      title: description ? directionWords(description) : "",
      numeric: true,
      sort: ({ summary }) => summary?.[0],
      cell: ({ summary }) => formatNumber(summary?.[0]),
    },
    {
      name: "Last change",
      numeric: true,
      sort: ({ summary }) => summary?.[2],
      cell: ({ summary }) => (summary ? changeLabel(summary[2], summary[3]) : ""),
    },
    { name: "Past", cell: ({ summary }) => (summary ? sparkline(summary[1], changeClass(summary[3])) : "") },
  ];
}

/** @returns {Column<BenchmarkRow>[]} */
function runColumns() {
  return [
    {
      name: "Runs",
      numeric: true,
      sort: (row) => row.runs,
      cell: (row) => (row.unusable ? `${row.runs} (${row.unusable} not usable)` : `${row.runs}`),
    },
    { name: "Last verdict", sort: (row) => row.verdict, cell: (row) => verdictBadge(row.verdict) },
    { name: "Last run", nowrap: true, sort: (row) => row.time, cell: (row) => formatDay(row.time) },
    { name: "Machine", sort: (row) => row.machine, cell: (row) => row.machine },
  ];
}

/**
 * @param {BenchmarkSummary} row
 * @returns {Child}
 */
function benchmarkCell(row) {
  const details = [row.apart, row.description].filter(Boolean);
  return [benchmarkLabel(row), details.map((text) => element("span", { class: "apart" }, text))];
}
