"use strict";
// The layout of the page: draws the page that the address names, the navigation and the footer.

/** @type {Record<string, Page>} */
const PAGES = {
  history: benchmarkListPage,
  benchmark: benchmarkPage,
  run: runPage,
  sweeps: sweepListPage,
  sweep: sweepPage,
  comparison: comparisonPage,
};
/** The entry of the navigation that a page without one belongs to. @type {Record<string, string>} */
const PARENT_PAGES = { benchmark: "history", run: "history", sweep: "sweeps" };

/** Number of the newest drawing: an older one that is still loading is dropped. */
let drawing = 0;
/** Path of the page that is shown; "" before the first one. */
let shownPath = "";

async function start() {
  startTheme();
  startPrinting();
  followSandboxedLinks();
  layoutElement("skip").onclick = (event) => {
    event.preventDefault(); // the address says which page is shown
    layoutElement("content").focus();
  };
  try {
    await loadIndex();
  } catch (error) {
    layoutElement("content").replaceChildren(element("p", { role: "alert" }, errorText(error)));
    return;
  }
  layoutElement("about").textContent = aboutText();
  window.addEventListener("hashchange", drawPage);
  await drawPage();
  document.documentElement.dataset.ready = "yes";
}

/** Draw the page of the address. */
async function drawPage() {
  drawing += 1;
  const mine = drawing;
  const address = currentAddress();
  if (!address.path.length) address.path = firstPage();
  const focusedId = document.activeElement?.id ?? "";
  const content = await pageContent(address);
  if (mine !== drawing) return;
  layoutElement("content").replaceChildren(element("div", { id: "view" }, content));
  disposeRemovedCharts();
  drawNavigation(address.path[0]);
  placeReader(address.path.join("/"), focusedId);
}

/**
 * @param {Address} address
 * @returns {Promise<Child>}
 */
async function pageContent(address) {
  const [name] = address.path;
  try {
    if (!Object.hasOwn(PAGES, name)) throw new Error(`there is no page "${name}"`);
    return await PAGES[name](address);
  } catch (error) {
    return [
      pageHeading("Not found"),
      element("p", { role: "alert" }, errorText(error)),
      element("p", {}, link(pageAddress(["history"]), "To the benchmarks")),
    ];
  }
}

/** @param {unknown} error */
function errorText(error) {
  return error instanceof Error ? error.message : String(error);
}

/** The path of the page that a report opens with: its comparison, its only sweep, or the history. */
function firstPage() {
  const { comparison, sweeps, results } = reportIndex;
  if (comparison) return ["comparison"];
  return sweeps.length === 1 && sweeps[0].runs === results ? ["sweep", sweeps[0].id] : ["history"];
}

/** @param {string} page */
function drawNavigation(page) {
  /** @type {[name: string, text: string, isShown: boolean][]} */
  const entries = [
    ["history", "History", true],
    ["sweeps", "Sweeps", reportIndex.sweeps.length > 0],
    ["comparison", "Comparison", reportIndex.comparison],
  ];
  const current = PARENT_PAGES[page] ?? page;
  const links = entries
    .filter(([, , isShown]) => isShown)
    .map(([name, text]) => link(`#/${name}`, text, { "aria-current": name === current ? "page" : null }));
  layoutElement("views").replaceChildren(...links);
}

/**
 * A new page starts at its heading. On the same page the focus stays where it was.
 * @param {string} path
 * @param {string} focusedId
 */
function placeReader(path, focusedId) {
  const heading = document.querySelector("h1");
  document.title = `${heading?.textContent ?? ""} · ${reportIndex.title}`;
  if (path === shownPath) {
    const focused = focusedId ? document.getElementById(focusedId) : null;
    focused?.focus();
    if (focused instanceof HTMLInputElement) focused.setSelectionRange(focused.value.length, focused.value.length);
  } else if (shownPath !== "") {
    window.scrollTo(0, 0);
    heading?.focus({ preventScroll: true });
  }
  shownPath = path;
}

function aboutText() {
  const { results, sources, with_requests, left_out, version, made } = reportIndex;
  const unreadable = left_out ? ` ${left_out} files were left out.` : "";
  return `${results} results from ${sources.join(", ")}; requests of ${with_requests} runs.${unreadable} Made by benchhydra ${version}, ${formatMinute(made)}.`;
}

start();
