"use strict";
// The page of one sweep: its runs as tables with colours from best to worst, curves, and the requests of one run.

/** @type {Page} */
async function sweepPage({ path, query }) {
  const summary = reportIndex.sweeps.find(({ id }) => id === path[1]);
  if (!summary) throw new Error("no such sweep in this report");
  const sweep = await loadPiece(`sweeps/${path[1]}`);
  return [
    element("p", { class: "crumbs" }, link(pageAddress(["sweeps"]), "Sweeps")),
    pageHeading(`Sweep of ${formatMinute(sweep.time)}`),
    factList([
      ["Models", summary.models.join(", ")],
      ["Scripts", summary.scripts.join(", ")],
      ["Datasets", summary.datasets.join(", ")],
      ["Machine", summary.machines.join(", ")],
      ["Runs", `${summary.runs}`],
      ["Verdicts", verdictCounts(summary.verdicts)],
      ["Description", sweep.description],
      ["Sweep", element("code", {}, sweep.sweep_id)],
    ]),
    filterForm(
      filterToggle("columns", "Columns", [
        ["key", "key metrics"],
        ["all", "all metrics"],
      ]),
    ),
    sweep.tables.map((table) => [
      element("h2", {}, table.script),
      sweepRunTable(sweep, table, query.columns === "all" ? table.metrics.length : table.key || table.metrics.length),
    ]),
    mutedParagraph(
      "Colours go from the best value of a column to its worst; columns that differ by less than 2 % and INVALID runs have none.",
    ),
    sweepCurves(sweep, query),
    await requestsOfOneRun(sweep, query.run),
  ];
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
    ...table.metrics.slice(0, shown).map(sweepMetricColumn),
    { name: "Verdict", sort: (row) => row.verdict, cell: (row) => verdictBadge(row.verdict, row.reasons) },
  ];
  return dataTable(`Runs of ${table.script}`, columns, table.rows);
}

/**
 * @param {string} name
 * @param {number} i
 * @returns {Column<SweepRow>}
 */
function sweepMetricColumn(name, i) {
  const metric = reportIndex.metrics[name];
  return {
    name: name.replace(/_ms$/, ""),
    unit: ` ${metric.unit} ${directionArrow(metric)}`,
    title: `${metric.doc} (${directionWords(metric)})`,
    numeric: true,
    sort: (row) => row.values[i],
    cell: (row) => [formatNumber(row.values[i]), rankSign(row.ranks[i])],
    shade: (row) => rankClass(row.ranks[i]),
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
 * A sign beside the best and the worst value: colour alone would say nothing to some readers. Others have an invisible
 * one, so that figures stay aligned.
 * @param {number | null | undefined} rank
 */
function rankSign(rank) {
  if (rank === 0) return element("span", { class: "rank better", title: "best" }, " ▲");
  if (rank === 1) return element("span", { class: "rank worse", title: "worst" }, " ▼");
  return element("span", { class: "rank", "aria-hidden": "true" }, " ▲");
}

/**
 * @param {SweepData} sweep
 * @param {string | undefined} wanted the run of the address
 * @returns {Promise<Child>}
 */
async function requestsOfOneRun({ tables, quantiles }, wanted) {
  const rows = tables.flatMap((table) => table.rows).filter(({ run }) => run in quantiles);
  if (!rows.length) return mutedParagraph("No requests of these runs are in this report.");
  const { run } = rows.find((row) => row.run === wanted) ?? rows[0];
  const requests = await loadPiece(`requests/${run}`);
  return [
    element("h2", {}, "Requests of one run"),
    filterForm(
      filterSelect(
        "run",
        "Run",
        rows.map((row) => [row.run, `${sweepRowLabel(row)} (${row.verdict})`]),
        rows[0].run,
      ),
    ),
    requestCharts(requests),
    requests.series.length ? seriesSection(requests.series) : null,
  ];
}
