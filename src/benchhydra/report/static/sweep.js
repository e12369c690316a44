"use strict";
// One sweep: its runs as tables with direction colours, then the curves.

(() => {
  bh.views.sweep = async ({ path, query }) => {
    if (!bh.index.sweeps.some((one) => one.id === path[1])) throw new Error("no such sweep in this report");
    const data = await bh.load(`sweeps/${path[1]}`);
    const about = bh.index.sweeps.find((one) => one.id === path[1]);
    return [
      bh.h("p", { class: "crumbs" }, bh.link(bh.state.href(["sweeps"]), "Sweeps")),
      bh.h("h1", { tabindex: "-1" }, `Sweep of ${bh.minute(data.time)}`),
      bh.facts([
        ["Models", about.models.join(", ")],
        ["Scripts", about.scripts.join(", ")],
        ["Datasets", about.datasets.join(", ")],
        ["Machine", about.machines.join(", ")],
        ["Runs", `${about.runs}`],
        ["Verdicts", Object.entries(about.verdicts).map(([said, count]) => [bh.verdict(said), ` ${count}  `])],
        ["Description", data.description],
        ["Sweep", bh.h("code", {}, data.sweep_id)],
      ]),
      bh.h(
        "form",
        { class: "filters", onsubmit: (event) => event.preventDefault() },
        bh.state.toggle("columns", "Columns", [
          ["key", "key metrics"],
          ["all", "all metrics"],
        ]),
      ),
      data.tables.map((table) => runs(data, table, query.columns === "all")),
      bh.h(
        "p",
        { class: "muted" },
        "Colours go from the best value of a column to its worst; columns that differ by less than 2 % and INVALID runs have none.",
      ),
      bh.curves(data, query),
      await timeline(data, query),
    ];
  };

  /** The worst third and the best third are coloured; the ends have a sign too. */
  const shade = (rank) =>
    rank === null || rank === undefined
      ? ""
      : rank === 0
        ? "best"
        : rank === 1
          ? "worst"
          : rank < 0.34
            ? "good"
            : rank > 0.66
              ? "bad"
              : "";
  const sign = (rank) =>
    rank === 0
      ? bh.h("span", { class: "rank better", title: "best" }, " ▲")
      : rank === 1
        ? bh.h("span", { class: "rank worse", title: "worst" }, " ▼")
        : bh.h("span", { class: "rank", "aria-hidden": "true" }, " ▲");

  const runs = (data, table, all) => {
    const names = all ? table.metrics : table.metrics.slice(0, table.key || table.metrics.length);
    return [
      bh.h("h2", {}, table.script),
      bh.table(
        `Runs of ${table.script}`,
        [
          {
            name: "Run",
            head: true,
            sort: (row) => row.name,
            cell: (row) =>
              bh.link(
                bh.runHref(data.benchmarks[row.run], row.run),
                `${row.name}${row.repeat ? ` repeat=${row.repeat}` : ""}`,
              ),
          },
          ...names.map((name, i) => {
            const about = bh.index.metrics[name];
            return {
              name: name.replace(/_ms$/, ""),
              unit: ` ${about.unit} ${bh.arrow(about)}`,
              title: `${about.doc} (${bh.arrowSaid(about)})`,
              numeric: true,
              sort: (row) => row.values[i],
              cell: (row) => [bh.number(row.values[i]), sign(row.ranks[i])],
              shade: (row) => shade(row.ranks[i]),
            };
          }),
          { name: "Verdict", sort: (row) => row.verdict, cell: (row) => bh.verdict(row.verdict, row.reasons) },
        ],
        table.rows,
      ),
    ];
  };

  const timeline = async (data, query) => {
    const rows = data.tables.flatMap((table) => table.rows).filter((row) => row.run in data.quantiles);
    if (!rows.length) return bh.h("p", { class: "muted" }, "No requests of these runs are in this report.");
    const chosen = rows.find((row) => row.run === query.run) || rows[0];
    return [
      bh.h("h2", {}, "Requests of one run"),
      bh.h(
        "form",
        { class: "filters", onsubmit: (event) => event.preventDefault() },
        bh.state.select(
          "run",
          "Run",
          rows.map((row) => [row.run, `${row.name}${row.repeat ? ` repeat=${row.repeat}` : ""} (${row.verdict})`]),
          rows[0].run,
        ),
      ),
      bh.requests(await bh.load(`requests/${chosen.run}`)),
    ];
  };
})();
