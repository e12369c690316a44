"use strict";
// Tables: sorted by buttons in their heads, long ones shown part by part, wide ones scrolled inside their frame.

const ROWS_SHOWN = 100;

/**
 * A table. `shown`: rows at first; each "Show more" adds twice as many.
 * @template Row
 * @param {string} caption
 * @param {Column<Row>[]} columns
 * @param {Row[]} rows
 * @param {{ shown?: number, class?: string }} options
 */
function dataTable(caption, columns, rows, { shown: step = ROWS_SHOWN, class: name } = {}) {
  const state = { column: -1, descending: false, shown: step };
  const body = element("tbody", {});
  const count = element("span", { class: "muted" });
  const more = element("button", { type: "button", class: "quiet" }, "Show more");
  const heads = columns.map((column, i) => tableHead(column, () => sortBy(i)));
  const draw = () => {
    heads.forEach((head, i) => markSorted(head, i === state.column, state.descending));
    const sorted = sortedRows(rows, columns[state.column], state.descending);
    body.replaceChildren(...sorted.slice(0, state.shown).map((row) => tableRow(columns, row)));
    more.hidden = state.shown >= rows.length;
    count.textContent = rows.length > step ? `${Math.min(state.shown, rows.length)} of ${rows.length} ` : "";
  };
  /** @param {number} column */
  const sortBy = (column) => {
    state.descending = state.column === column && !state.descending;
    state.column = column;
    draw();
  };
  more.onclick = () => {
    state.shown += 2 * step;
    draw();
  };
  draw();
  const head = element("thead", {}, element("tr", {}, heads));
  const table = element("table", {}, element("caption", { class: "unseen" }, caption), head, body);
  return element(
    "div",
    { class: ["table", name].filter(Boolean).join(" ") },
    element("div", { class: "frame", role: "region", tabindex: "0", "aria-label": caption }, table),
    element("p", { class: "more" }, count, more, csvButton(caption, columns, rows)),
  );
}

/**
 * All rows as a file, whatever is shown.
 * @template Row
 * @param {string} caption
 * @param {Column<Row>[]} columns
 * @param {Row[]} rows
 */
function csvButton(caption, columns, rows) {
  const save = () => saveFile(fileName(caption, "csv"), new Blob([tableCsv(columns, rows)], { type: "text/csv" }));
  return exportGroup(exportButton("CSV", caption, save));
}

/**
 * @template Row
 * @param {Column<Row>} column
 * @param {Handler} onclick
 */
function tableHead({ name, unit, title, numeric, sort }, onclick) {
  const sortButton = () =>
    element(
      "button",
      { type: "button", class: "sort", onclick },
      name,
      unit ? element("span", { class: "unit" }, unit) : null,
      element("span", { class: "sign", "aria-hidden": "true" }),
    );
  return element("th", { scope: "col", class: numeric ? "number" : null, title }, sort ? sortButton() : name);
}

/**
 * @param {HTMLElement} head
 * @param {boolean} isSorted
 * @param {boolean} isDescending
 */
function markSorted(head, isSorted, isDescending) {
  const order = isDescending ? "descending" : "ascending";
  head.setAttribute("aria-sort", isSorted ? order : "none");
  const sign = head.querySelector(".sign");
  if (sign) sign.textContent = isSorted ? { ascending: " ▴", descending: " ▾" }[order] : "";
}

/**
 * @template Row
 * @param {Column<Row>[]} columns
 * @param {Row} row
 */
function tableRow(columns, row) {
  const cells = columns.map((column) => {
    const classes = [column.numeric && "number", column.nowrap && "nowrap", column.shade?.(row)]
      .filter(Boolean)
      .join(" ");
    return column.head
      ? element("th", { scope: "row", class: classes || null }, column.cell(row))
      : element("td", { class: classes || null }, column.cell(row));
  });
  return element("tr", {}, cells);
}

/**
 * Rows in the order of a column; rows without a value come last in both directions.
 * @template Row
 * @param {Row[]} rows
 * @param {Column<Row> | undefined} column
 * @param {boolean} descending
 */
function sortedRows(rows, column, descending) {
  const key = column?.sort;
  if (!key) return rows;
  const hasKey = (/** @type {Row} */ row) => key(row) !== null && key(row) !== undefined;
  const sign = descending ? -1 : 1;
  const sorted = rows.filter(hasKey).sort((a, b) => sign * compareKeys(key(a), key(b)));
  return [...sorted, ...rows.filter((row) => !hasKey(row))];
}

/**
 * @param {SortKey} a
 * @param {SortKey} b
 */
function compareKeys(a, b) {
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}
