"use strict";
// Where the reader is and what is filtered stands in the address after #: links can be shared, and "back" goes back.

(() => {
  bh.state = {};

  /** A part of the address; one that is no code stays as it was typed. */
  const decoded = (part) => {
    try {
      return decodeURIComponent(part);
    } catch {
      return part;
    }
  };

  /** "#/history?model=a" -> { path: ["history"], query: { model: "a" } } */
  bh.state.parse = (hash) => {
    const [path, query] = hash.replace(/^#\/?/, "").split("?");
    return {
      path: path.split("/").filter(Boolean).map(decoded),
      query: Object.fromEntries(new URLSearchParams(query || "")),
    };
  };

  // A page shown in a sealed frame (MLflow shows a file as a blob) may not change its address: it keeps it in mind.
  const sealed = !["http:", "https:", "file:"].includes(location.protocol);
  let kept = location.hash;

  bh.state.hash = () => (sealed ? kept : location.hash);
  bh.state.now = () => bh.state.parse(bh.state.hash());

  const move = (href, replace) => {
    if (sealed) {
      kept = href;
      window.dispatchEvent(new Event("hashchange"));
    } else if (replace) location.replace(href);
    else location.hash = href;
  };

  if (sealed)
    document.addEventListener("click", (event) => {
      const link = event.target.closest("a[href^='#']");
      if (!link || event.defaultPrevented) return;
      event.preventDefault();
      move(link.getAttribute("href"));
    });

  bh.state.href = (path, query) => {
    const kept = Object.entries(query || {}).filter(
      ([, value]) => value !== "" && value !== null && value !== undefined,
    );
    const text = new URLSearchParams(kept).toString();
    return `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
  };

  /** Go to another page, by its address. */
  bh.state.go = (href) => move(href);

  /** Change filters of this page; typing replaces the entry in the history, choosing adds one. */
  bh.state.change = (changes, replace) => {
    const { path, query } = bh.state.now();
    move(bh.state.href(path, { ...query, ...changes }), replace);
  };

  /** A labelled select that changes a key of the address. options: [value, text] pairs; "" is the first choice. */
  bh.state.select = (key, label, options, fallback) => {
    const now = bh.state.now().query[key] ?? fallback ?? "";
    const select = bh.h(
      "select",
      {
        id: `filter-${key}`,
        onchange: () => bh.state.change({ [key]: select.value === fallback ? "" : select.value }),
      },
      options.map(([value, text]) => bh.h("option", { value, selected: value === now }, text)),
    );
    return bh.h("label", { class: "field" }, bh.h("span", {}, label), select);
  };

  /** A labelled text input that changes a key of the address. */
  bh.state.search = (key, label) => {
    const input = bh.h("input", {
      id: `filter-${key}`,
      type: "search",
      value: bh.state.now().query[key] || "",
      oninput: () => bh.state.change({ [key]: input.value }, true),
    });
    return bh.h("label", { class: "field wide" }, bh.h("span", {}, label), input);
  };

  /** Buttons of which one is pressed. */
  bh.state.toggle = (key, label, options) => {
    const now = bh.state.now().query[key] || options[0][0];
    return bh.h(
      "div",
      { class: "field", role: "group", "aria-label": label },
      bh.h("span", { "aria-hidden": "true" }, label),
      bh.h(
        "span",
        { class: "toggle" },
        options.map(([value, text], i) =>
          bh.h(
            "button",
            {
              type: "button",
              id: `toggle-${key}-${value}`,
              "aria-pressed": String(value === now),
              onclick: () => bh.state.change({ [key]: i ? value : "" }),
            },
            text,
          ),
        ),
      ),
    );
  };
})();
