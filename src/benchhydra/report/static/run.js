"use strict";
// The page of one run: verdict, links, metrics with what was expected of them, its requests, configuration.

/** @type {Page} */
async function runPage({ path }) {
  const [, id, file] = path;
  const summary = benchmarkSummary(id);
  const [history, details] = await Promise.all([loadPiece(`benchmarks/${id}`), loadPiece(`details/${id}`)]);
  const run = history.runs.file.indexOf(file);
  if (run < 0) throw new Error("no such run in this report");
  const own = details.runs[run];
  const facts = { ...(own.has_facts ? details.common : {}), ...own.facts };
  const requests = own.requests ? await loadPiece(`requests/${file}`) : null;
  return [
    element(
      "p",
      { class: "crumbs" },
      link(pageAddress(["history"]), "History"),
      " / ",
      link(pageAddress(["benchmark", id]), fullBenchmarkLabel(summary)),
    ),
    pageHeading(`Run of ${formatSecond(history.runs.time[run])}`),
    runFacts(history.runs, own, run),
    runReasons(history.runs, own, run),
    serverLog(own.log_tail),
    element("h2", {}, "Metrics"),
    runMetricTable(history, run),
    Object.entries(own.groups ?? {}).map(([label, groups]) => groupTable(label, groups)),
    requests ? timeAxisSection(requests) : null,
    element("h2", {}, "Requests"),
    requests ? distributionCharts(requests) : mutedParagraph(whyNoRequests(own)),
    element("h2", {}, "Configuration"),
    own.has_facts ? factTables(facts) : mutedParagraph("This source holds the run's figures alone."),
  ];
}

/** @param {RunDetails} own */
function whyNoRequests(own) {
  return own.has_facts
    ? "This run has no records.parquet, or its requests were left out: a report holds only those of the newest runs (--requests N)."
    : "This source holds no requests.";
}

/**
 * @param {RunColumns} runs
 * @param {RunDetails} own
 * @param {number} run
 */
function runFacts(runs, own, run) {
  const sweep = reportIndex.sweeps.find(({ id }) => id === runs.sweep[run]);
  const notLogged = own.has_facts ? "not logged" : "";
  return factList([
    ["Verdict", verdictBadge(runVerdict(runs, run))],
    ["Commit", commitLabel(runs.commit[run])],
    ["Engine", runs.version[run]],
    ["MLflow", own.mlflow ? link(own.mlflow, "open the run") : notLogged],
    ["Sweep", sweep && link(pageAddress(["sweep", sweep.id]), "open the sweep")],
    ["Repeat", own.repeat ? `${own.repeat}` : ""],
    ["Duration", own.wall_s ? formatFigure(own.wall_s, "s") : ""],
    ["Description", runs.description[run]],
    ["Run", element("code", {}, runs.id[run])],
    ["File", own.source ? element("code", {}, own.source) : ""],
  ]);
}

/**
 * Why the verdict is what it is, errors, failed requests and warnings.
 * @param {RunColumns} runs
 * @param {RunDetails} own
 * @param {number} run
 */
function runReasons(runs, own, run) {
  const failures = Object.entries(own.failures ?? {}).map(([kind, count]) => `${count} requests ended as ${kind}`);
  const texts = own.failure_texts ?? [];
  const lines = [
    ...runs.reasons[run],
    ...(own.error ? [own.error] : []),
    ...failures,
    ...texts,
    ...(own.warnings ?? []),
  ];
  if (!lines.length) return null;
  return element(
    "ul",
    { class: `reasons ${runs.verdict[run].toLowerCase()}` },
    lines.map((line) => element("li", {}, line)),
  );
}

/** @param {string | undefined} text */
function serverLog(text) {
  if (!text) return null;
  const log = element("pre", { tabindex: "0" }, text);
  return element("details", {}, element("summary", {}, "End of the server's log"), log);
}

/**
 * @param {BenchmarkHistory} history
 * @param {number} run
 */
function runMetricTable(history, run) {
  const rows = Object.keys(reportIndex.metrics)
    .map((name) => ({
      name,
      metric: reportIndex.metrics[name],
      value: history.metrics[name]?.[run] ?? null,
      level: history.runs.usable[run] ? levelOfRun(history, name, run) : undefined,
    }))
    .filter(({ value }) => value !== null);
  if (!rows.length) return mutedParagraph("Nothing was measured.");
  /** @type {Column<typeof rows[number]>[]} */
  const columns = [
    {
      name: "Metric",
      head: true,
      sort: (row) => row.name,
      cell: ({ name, metric }) =>
        link(pageAddress(["benchmark", history.id], { metric: name }), name, { title: metric.doc }),
    },
    { name: "Value", numeric: true, cell: (row) => formatNumber(row.value) },
    { name: "Unit", cell: ({ metric }) => `${metric.unit} ${directionArrow(metric)}` },
    { name: "Level", numeric: true, cell: (row) => formatNumber(row.level?.level) },
    { name: "Expected (95 %)", numeric: true, cell: ({ value, level }) => expectedRange(value, level) },
  ];
  return dataTable("Metrics", columns, rows, { shown: METRICS_SHOWN });
}

/**
 * Figures of groups of requests, a row each: there may be hundreds of adapters.
 * @param {string} label
 * @param {Record<string, Record<string, number>>} groups
 */
function groupTable(label, groups) {
  const rows = Object.entries(groups);
  const names = [...new Set(rows.flatMap(([, figures]) => Object.keys(figures)))];
  /** @type {Column<typeof rows[number]>[]} */
  const columns = [
    { name: label, head: true, cell: ([group]) => group },
    ...names.map((name) => groupColumn(name, reportIndex.metrics[name])),
  ];
  return [element("h3", {}, `By ${label}`), dataTable(`Metrics by ${label}`, columns, rows)];
}

/**
 * @param {string} name
 * @param {Metric | undefined} metric
 * @returns {Column<[string, Record<string, number>]>}
 */
function groupColumn(name, metric) {
  return {
    name,
    unit: metric && `${metric.unit} ${directionArrow(metric)}`,
    title: metric?.doc,
    numeric: true,
    sort: ([, figures]) => figures[name],
    cell: ([, figures]) => formatNumber(figures[name]),
  };
}

/**
 * @param {number | null} value
 * @param {Level | undefined} level
 */
function expectedRange(value, level) {
  if (value === null || level?.low === undefined || level.high === undefined) return "–";
  const isOutside = value < level.low || value > level.high;
  return `${formatNumber(level.low)} to ${formatNumber(level.high)}${isOutside ? " ✕ outside" : ""}`;
}

/**
 * Configuration, environment and metadata, each behind its name.
 * @param {Record<string, Fact>} facts
 */
function factTables(facts) {
  /** @type {Column<[string, Fact]>[]} */
  const columns = [
    { name: "Key", head: true, sort: ([key]) => key, cell: ([key]) => element("code", {}, key) },
    { name: "Value", cell: ([, value]) => String(value) },
  ];
  return ["config", "environment", "metadata"].map((part) => {
    const rows = Object.entries(facts)
      .filter(([key]) => key.startsWith(`${part}.`))
      .map(([key, value]) => /** @type {[string, Fact]} */ ([key.slice(part.length + 1), value]));
    if (!rows.length) return null;
    return element(
      "details",
      {},
      element("summary", {}, `${part} (${rows.length})`),
      dataTable(part, columns, rows, { shown: 200 }),
    );
  });
}
