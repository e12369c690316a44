"use strict";
// Pieces of data by name. In a folder each is a script that calls `registerPiece`, loaded when it is first wanted: a
// page that was opened from the disk may not fetch files, but may load scripts. A single file holds all pieces in one
// JSON block.

/** @type {Map<string, any>} */
const loadedPieces = new Map();
/** @type {Map<string, Promise<any>>} */
const loadingPieces = new Map();
const jsonBlock = document.getElementById("data");
if (jsonBlock)
  for (const [name, data] of Object.entries(JSON.parse(jsonBlock.textContent ?? "{}"))) loadedPieces.set(name, data);

/**
 * The piece "index", which every page reads; main.js loads it before the first page.
 * @type {ReportIndex}
 */
let reportIndex;

async function loadIndex() {
  reportIndex = await loadPiece("index");
}

/**
 * Called by the script of a piece.
 * @param {string} name
 * @param {any} data
 */
function registerPiece(name, data) {
  loadedPieces.set(name, data);
}

/**
 * A piece of data. Rejects where the report does not hold it.
 * @template {keyof Pieces} Name
 * @param {Name} name
 * @returns {Promise<Pieces[Name]>}
 */
async function loadPiece(name) {
  if (loadedPieces.has(name)) return loadedPieces.get(name);
  if (jsonBlock) throw new Error(`${name} is not in this file`);
  const loading = loadingPieces.get(name) ?? loadScript(name);
  loadingPieces.set(name, loading);
  return loading;
}

/**
 * @param {string} name
 * @returns {Promise<any>}
 */
function loadScript(name) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `data/${name}.js`;
    script.onload = () =>
      loadedPieces.has(name) ? resolve(loadedPieces.get(name)) : reject(new Error(`data/${name}.js is empty`));
    script.onerror = () => reject(new Error(`data/${name}.js does not exist`));
    document.head.append(script);
  });
}
