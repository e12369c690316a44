"use strict";
// The page of all sweeps, with their filters.

/** @type {[key: string, label: string, field: "models" | "scripts" | "datasets" | "machines"][]} */
const SWEEP_FILTERS = [
  ["model", "Model", "models"],
  ["script", "Script", "scripts"],
  ["dataset", "Dataset", "datasets"],
  ["machine", "Machine", "machines"],
];

/** @type {Page} */
async function sweepListPage({ query }) {
  const all = reportIndex.sweeps;
  const rows = all.filter((sweep) =>
    SWEEP_FILTERS.every(([key, , field]) => !query[key] || sweep[field].includes(query[key])),
  );
  announce(`${rows.length} sweeps`);
  return [
    pageHeading("Sweeps"),
    filterForm(
      SWEEP_FILTERS.map(([key, label, field]) =>
        valueFilter(
          key,
          label,
          all.flatMap((sweep) => sweep[field]),
        ),
      ),
    ),
    rows.length ? sweepTable(rows) : element("p", {}, "No sweep here: single runs are under History."),
  ];
}

/** @param {SweepSummary[]} rows */
function sweepTable(rows) {
  /** @type {Column<SweepSummary>[]} */
  const columns = [
    {
      name: "Start",
      head: true,
      nowrap: true,
      sort: (row) => row.time,
      cell: (row) => link(pageAddress(["sweep", row.id]), formatMinute(row.time)),
    },
    {
      name: "Benchmarks",
      cell: ({ scripts, models, datasets }) => [scripts, models, datasets].map((names) => names.join(", ")).join(" "),
    },
    { name: "Description", cell: (row) => row.description },
    { name: "Machine", cell: (row) => row.machines.join(", ") },
    { name: "Runs", numeric: true, sort: (row) => row.runs, cell: (row) => `${row.runs}` },
    { name: "Verdicts", cell: (row) => verdictCounts(row.verdicts) },
  ];
  return dataTable("Sweeps", columns, rows);
}
