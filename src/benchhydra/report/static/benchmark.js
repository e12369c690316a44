"use strict";
// The page of one benchmark: the history of a metric, all metrics, every run.

const SPARKLINE_VALUES = 40;
const METRICS_SHOWN = 14;
const RUNS_SHOWN = 30;

/** @type {Page} */
async function benchmarkPage({ path, query }) {
  const summary = benchmarkSummary(path[1]);
  const history = await loadPiece(`benchmarks/${path[1]}`);
  const names = Object.keys(reportIndex.metrics).filter((name) => name in history.metrics);
  const metric = chooseMetric(names, query.metric);
  const head = [
    element("p", { class: "crumbs" }, link(pageAddress(["history"]), "History")),
    pageHeading(fullBenchmarkLabel(summary)),
    benchmarkFacts(summary, history),
  ];
  if (!metric) return [head, element("p", {}, "None of its runs has a metric."), runTable(history, "")];
  return [
    head,
    filterForm(
      metricSelect(names),
      filterToggle("axis", "Axis", [
        ["time", "by time"],
        ["order", "by run"],
      ]),
    ),
    metricHistoryChart(history, metric, query.axis === "order"),
    levelChanges(history, metric),
    element("h2", {}, "All metrics"),
    mutedParagraph(
      "Noise is the run-to-run standard deviation around the levels. INVALID and unfinished runs are left out of noise, lines and bands.",
    ),
    metricTable(history, names),
    element("h2", {}, "Runs"),
    runTable(history, metric),
  ];
}

/**
 * A benchmark of the index. Throws where there is none with this id.
 * @param {string} id
 */
function benchmarkSummary(id) {
  const summary = reportIndex.benchmarks.find((benchmark) => benchmark.id === id);
  if (!summary) throw new Error("no such benchmark in this report");
  return summary;
}

/**
 * @param {BenchmarkSummary} summary
 * @param {BenchmarkHistory} history
 */
function benchmarkFacts(summary, history) {
  return factList([
    ["Machine", summary.machine],
    ["Runs", `${summary.runs}${summary.unusable ? `, ${summary.unusable} of them not usable` : ""}`],
    ["Newest", [verdictBadge(summary.verdict), ` ${formatMinute(summary.time)}`]],
    ["Description", summary.description],
    ["Point", element("code", {}, history.key)],
  ]);
}

/**
 * @param {BenchmarkHistory} history
 * @param {string} metric
 */
function levelChanges(history, metric) {
  const changes = history.changes[metric] ?? [];
  if (!changes.length)
    return mutedParagraph("No change of level was found (it takes at least four runs before and after it).");
  const items = changes.map((change) =>
    element(
      "li",
      {},
      changeLabel(change.ratio, change.better),
      ` at ${formatDay(history.runs.time[change.at])}: `,
      buildLink(history, change.before),
      " → ",
      buildLink(history, change.at),
      commitRange(history.runs.commit[change.before], history.runs.commit[change.at]),
    ),
  );
  return element("ul", { class: "changes" }, items);
}

/**
 * A link to a run, named by what was measured in it.
 * @param {BenchmarkHistory} history
 * @param {number} run
 */
function buildLink({ id, runs }, run) {
  const build = [runs.version[run], shortCommit(runs.commit[run])].filter(Boolean).join(" ");
  return link(runAddress(id, runs.file[run]), build || formatDay(runs.time[run]));
}

/**
 * A link to the commits between two builds where the repository is known.
 * @param {string} before
 * @param {string} after
 * @returns {Child}
 */
function commitRange(before, after) {
  const { repository } = reportIndex;
  if (!repository || !isCommit(before) || !isCommit(after) || before === after) return "";
  return [", ", link(`${repository}/compare/${before}...${after}`, "commits between")];
}

/**
 * @param {BenchmarkHistory} history
 * @param {string[]} names
 */
function metricTable(history, names) {
  const rows = names.map((name) => ({
    name,
    metric: reportIndex.metrics[name],
    values: history.metrics[name].filter((value, i) => value !== null && history.runs.usable[i]),
    noise: history.noise[name],
    change: (history.changes[name] ?? []).at(-1),
  }));
  /** @type {Column<typeof rows[number]>[]} */
  const columns = [
    {
      name: "Metric",
      head: true,
      sort: (row) => row.name,
      cell: ({ name, metric }) =>
        link(pageAddress(["benchmark", history.id], { ...currentAddress().query, metric: name }), name, {
          title: metric.doc,
        }),
    },
    { name: "Newest", numeric: true, cell: (row) => formatNumber(row.values.at(-1)) },
    { name: "Unit", cell: ({ metric }) => `${metric.unit} ${directionArrow(metric)}` },
    {
      name: "Noise",
      numeric: true,
      sort: (row) => row.noise,
      cell: ({ noise }) => (noise === undefined ? "–" : `${(noise * 100).toFixed(1)} %`),
    },
    {
      name: "Past",
      cell: ({ values, change }) => sparkline(values.slice(-SPARKLINE_VALUES), changeClass(change?.better)),
    },
    {
      name: "Last change",
      numeric: true,
      sort: ({ change }) => change?.ratio,
      cell: ({ change }) => (change ? changeLabel(change.ratio, change.better) : ""),
    },
  ];
  return dataTable("All metrics", columns, rows, { shown: METRICS_SHOWN });
}

/**
 * @param {BenchmarkHistory} history
 * @param {string} metric "" shows no metric
 */
function runTable({ id, runs, metrics }, metric) {
  /** @type {Column<number>} */
  const value = {
    name: metric.replace(/_ms$/, ""),
    unit: metric && ` ${reportIndex.metrics[metric].unit}`,
    numeric: true,
    sort: (run) => metrics[metric][run],
    cell: (run) => formatNumber(metrics[metric][run]),
  };
  /** @type {Column<number>[]} */
  const columns = [
    {
      name: "Run",
      head: true,
      nowrap: true,
      cell: (run) => link(runAddress(id, runs.file[run]), formatSecond(runs.time[run])),
    },
    ...(metric ? [value] : []),
    {
      name: "Verdict",
      sort: (run) => runs.verdict[run],
      cell: (run) => verdictBadge(runVerdict(runs, run), runs.reasons[run]),
    },
    { name: "Version", cell: (run) => runs.version[run] || "–" },
    { name: "Commit", cell: (run) => commitLabel(runs.commit[run]) },
    { name: "Description", cell: (run) => runs.description[run] },
  ];
  const newestFirst = runs.id.map((_, run) => run).reverse();
  return dataTable("Runs, newest first", columns, newestFirst, { shown: RUNS_SHOWN });
}
