"use strict";
// Data by name. In a folder each is a script that registers itself when it is first wanted; in a single file all of
// them stand in one block. A page from the disk may not fetch files, and may load scripts.

(() => {
  const known = new Map();
  const waiting = new Map();
  const block = document.getElementById("data");
  if (block) for (const [name, data] of Object.entries(JSON.parse(block.textContent))) known.set(name, data);

  bh.register = (name, data) => known.set(name, data);

  const script = (name) =>
    new Promise((resolve, reject) => {
      const element = document.createElement("script");
      element.src = `data/${name}.js`;
      element.onload = () =>
        known.has(name) ? resolve(known.get(name)) : reject(new Error(`data/${name}.js is empty`));
      element.onerror = () => reject(new Error(`data/${name}.js is not there`));
      document.head.append(element);
    });

  /** A promise of a piece of data. */
  bh.load = (name) => {
    if (known.has(name)) return Promise.resolve(known.get(name));
    if (block) return Promise.reject(new Error(`${name} is not in this file`));
    if (!waiting.has(name)) waiting.set(name, script(name));
    return waiting.get(name);
  };
})();
