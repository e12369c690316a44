"use strict";
// Tables: sorted by buttons in their heads, long ones shown part by part, wide ones scrolled inside their frame.

(() => {
  const PART = 100;

  const cell = (column, row) => {
    const content = column.cell(row);
    const shade = column.shade ? column.shade(row) : "";
    const kind = [column.numeric ? "number" : "", shade].filter(Boolean).join(" ");
    return column.head
      ? bh.h("th", { scope: "row", class: kind || null }, content)
      : bh.h("td", { class: kind || null }, content);
  };

  const compare = (a, b) => {
    if (a === null || a === undefined) return 1;
    if (b === null || b === undefined) return -1;
    return typeof a === "string" ? a.localeCompare(b) : a - b;
  };

  /** A table. columns: { name, title, cell(row), sort(row), numeric, head, shade(row) }. */
  bh.table = (caption, columns, rows, options) => {
    const { part = PART, order = null } = options || {};
    const frame = bh.h("div", { class: "frame", role: "region", tabindex: "0", "aria-label": caption });
    const state = { by: order ? order.by : null, down: order ? order.down : false, shown: part };
    const body = bh.h("tbody", {});
    const more = bh.h("button", { type: "button", class: "quiet", onclick: () => grow() }, "Show more");
    const count = bh.h("span", { class: "muted" });
    const heads = columns.map((column, i) =>
      bh.h(
        "th",
        { scope: "col", class: column.numeric ? "number" : null, title: column.title || null },
        column.sort
          ? bh.h(
              "button",
              { type: "button", class: "sort", onclick: () => sortBy(i) },
              column.name,
              column.unit ? bh.h("span", { class: "unit" }, column.unit) : null,
              bh.h("span", { class: "sign", "aria-hidden": "true" }),
            )
          : column.name,
      ),
    );

    const sorted = () => {
      if (state.by === null) return rows;
      const key = columns[state.by].sort;
      const sign = state.down ? -1 : 1;
      const empty = (row) => key(row) === null || key(row) === undefined;
      return [...rows].sort((a, b) =>
        empty(a) || empty(b) ? compare(key(a), key(b)) : sign * compare(key(a), key(b)),
      );
    };
    const draw = () => {
      heads.forEach((head, i) => {
        const on = i === state.by;
        head.setAttribute("aria-sort", on ? (state.down ? "descending" : "ascending") : "none");
        const sign = head.querySelector(".sign");
        if (sign) sign.textContent = on ? (state.down ? " ▾" : " ▴") : "";
      });
      body.replaceChildren(
        ...sorted()
          .slice(0, state.shown)
          .map((row) =>
            bh.h(
              "tr",
              {},
              columns.map((column) => cell(column, row)),
            ),
          ),
      );
      more.hidden = state.shown >= rows.length;
      count.textContent = rows.length > part ? `${Math.min(state.shown, rows.length)} of ${rows.length} ` : "";
    };
    const sortBy = (i) => {
      state.down = state.by === i ? !state.down : false;
      state.by = i;
      draw();
    };
    const grow = () => {
      state.shown += 2 * part;
      draw();
    };
    draw();
    frame.append(
      bh.h("table", {}, bh.h("caption", { class: "unseen" }, caption), bh.h("thead", {}, bh.h("tr", {}, heads)), body),
    );
    return bh.h("div", { class: "table" }, frame, bh.h("p", { class: "more" }, count, more));
  };

  /** Names and values, side by side. */
  bh.facts = (pairs) =>
    bh.h(
      "dl",
      { class: "facts" },
      pairs
        .filter(([, value]) => value !== null && value !== undefined && value !== "")
        .map(([name, value]) => bh.h("div", {}, bh.h("dt", {}, name), bh.h("dd", {}, value))),
    );
})();
