"use strict";
// Which page is shown and what is filtered stands in the address after "#": links can be shared, and "back" works.

// A page in a sandboxed frame (MLflow shows a report as a blob) may not change its address, so the address is a variable.
const isSandboxed = !["http:", "https:", "file:"].includes(location.protocol);
let sandboxHash = location.hash;

/** @returns {Address} */
function currentAddress() {
  return parseAddress(isSandboxed ? sandboxHash : location.hash);
}

/**
 * "#/history?model=a" becomes { path: ["history"], query: { model: "a" } }.
 * @param {string} hash
 * @returns {Address}
 */
function parseAddress(hash) {
  const [path, query] = hash.replace(/^#\/?/, "").split("?");
  return {
    path: path.split("/").filter(Boolean).map(decodePart),
    query: Object.fromEntries(new URLSearchParams(query ?? "")),
  };
}

/**
 * A part of the path; one with a malformed escape is left as it is.
 * @param {string} part
 */
function decodePart(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/**
 * The address of a page; empty values of the query are left out.
 * @param {string[]} path
 * @param {Record<string, string>} query
 */
function pageAddress(path, query = {}) {
  const text = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "")).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

/**
 * @param {string} benchmark id of the benchmark
 * @param {string} file the run's name in addresses
 */
function runAddress(benchmark, file) {
  return pageAddress(["run", benchmark, file]);
}

/**
 * Go to another page.
 * @param {string} address
 * @param {{ replace?: boolean }} options replace: without a new entry in the browser's history
 */
function navigate(address, { replace = false } = {}) {
  if (isSandboxed) {
    sandboxHash = address;
    window.dispatchEvent(new Event("hashchange"));
  } else if (replace) location.replace(address);
  else location.hash = address;
}

/**
 * Change keys of the current page's query.
 * @param {Record<string, string>} changes
 * @param {{ replace?: boolean }} options
 */
function changeQuery(changes, options = {}) {
  const { path, query } = currentAddress();
  navigate(pageAddress(path, { ...query, ...changes }), options);
}

/** In a sandboxed frame links inside the page are followed here. */
function followSandboxedLinks() {
  if (!isSandboxed) return;
  document.addEventListener("click", (event) => {
    const anchor = event.target instanceof Element ? event.target.closest("a[href^='#']") : null;
    if (!anchor || event.defaultPrevented) return;
    event.preventDefault();
    navigate(anchor.getAttribute("href") ?? "#");
  });
}
