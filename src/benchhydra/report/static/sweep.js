"use strict";
// The page of one sweep: the answers of its searches, its points as a table, curves, and the requests of one run.

/** @type {[value: string, text: string][]} */
const SWEEP_PARTS = [
  ["curves", "curves"],
  ["distributions", "distributions"],
  ["requests", "requests of one run"],
];

/** @type {Page} */
async function sweepPage({ path, query }) {
  const summary = reportIndex.sweeps.find(({ id }) => id === path[1]);
  if (!summary) throw new Error("no such sweep in this report");
  const sweep = await loadPiece(`sweeps/${path[1]}`);
  return [
    element("p", { class: "crumbs" }, link(pageAddress(["sweeps"]), "Sweeps")),
    pageHeading(`Sweep of ${formatMinute(sweep.time)}`),
    sweepFacts(summary, sweep),
    searchAnswers(sweep),
    filterForm(
      filterToggle("rows", "Rows", [
        ["points", "points"],
        ["runs", "runs"],
      ]),
      filterToggle("columns", "Columns", [
        ["key", "key metrics"],
        ["all", "all metrics"],
      ]),
    ),
    sweep.tables.map((table) => sweepTables(sweep, table, query)),
    mutedParagraph(
      "Median of the repeats ± half of their range. ▲ ▼: best and worst at one load, if they differ by more than 2 %. INVALID runs are left out.",
    ),
    textList("Why runs are not VALID", sweep.reasons),
    filterForm(filterToggle("part", "Show", SWEEP_PARTS)),
    await sweepPart(sweep, query),
  ];
}

/**
 * @param {SweepSummary} summary
 * @param {SweepData} sweep
 */
function sweepFacts(summary, sweep) {
  return factList([
    ["Models", summary.models.join(", ")],
    ["Scripts", summary.scripts.join(", ")],
    ["Datasets", summary.datasets.join(", ")],
    ["Machine", summary.machines.join(", ")],
    ["Runs", `${summary.runs}`],
    ["Verdicts", verdictCounts(summary.verdicts)],
    ["Description", sweep.description],
    ["Sweep", element("code", {}, sweep.sweep_id)],
  ]);
}

/** @param {SweepData} sweep */
function searchAnswers({ answers, benchmarks }) {
  if (!answers) return null;
  /** @type {Column<string[]>[]} */
  const columns = answers.columns.map((name, i) => ({ name, head: i === 0, cell: (row) => row[i] }));
  return [
    dataTable("Answers of the searches", columns, answers.rows),
    searchCharts(answers.charts, benchmarks),
    answers.optima.map(optimumSection),
  ];
}

/**
 * @param {SweepData} sweep
 * @param {SweepTable} table
 * @param {Address["query"]} query
 */
function sweepTables(sweep, table, query) {
  const shown = query.columns === "all" ? table.metrics.length : table.key || table.metrics.length;
  return [
    sweep.tables.length > 1 ? element("h2", {}, table.script) : null,
    query.rows === "runs" ? sweepRunTable(sweep, table, shown) : sweepPointTable(sweep, table, shown),
  ];
}

/**
 * @param {SweepData} sweep
 * @param {Address["query"]} query
 * @returns {Promise<Child>}
 */
async function sweepPart(sweep, query) {
  if (query.part === "distributions") return distributionSection(sweep, query.distribution);
  if (query.part === "requests") return requestsOfOneRun(sweep, query.run);
  return sweepCurves(sweep, query.tradeoff);
}

/**
 * @param {SweepData} sweep
 * @param {string | undefined} wanted the run of the address
 * @returns {Promise<Child>}
 */
async function requestsOfOneRun({ tables, quantiles }, wanted) {
  const rows = tables.flatMap((table) => table.runs).filter(({ run }) => run in quantiles);
  if (!rows.length) return mutedParagraph("No requests of these runs are in this report.");
  const { run } = rows.find((row) => row.run === wanted) ?? rows[0];
  const requests = await loadPiece(`requests/${run}`);
  return [
    filterForm(
      filterSelect(
        "run",
        "Run",
        rows.map((row) => [row.run, `${sweepRowLabel(row)} (${row.verdict})`]),
        rows[0].run,
      ),
    ),
    distributionCharts(requests),
    timeAxisSection(requests),
  ];
}
