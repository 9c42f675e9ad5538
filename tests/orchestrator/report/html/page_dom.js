// A stand-in for a browser: runs the script of a landscape page and prints what it drew, as JSON.
// usage: node page_dom.js PAGE.html [TARGET_IN_PERCENT]
"use strict";

const text = require("fs").readFileSync(process.argv[2], "utf8");
const [data, script] = [...text.matchAll(/<script[^>]*>([^]*?)<\/script>/g)].map((match) => match[1]);

class Element {
  constructor(name) {
    Object.assign(this, { name, children: [], attributes: {}, style: {}, listeners: {}, clientWidth: 500 });
    this.textContent = "";
    this.fills = [];
  }
  setAttribute(key, value) { this.attributes[key] = value; }
  append(...children) { this.children.push(...children); }
  appendChild(child) { this.children.push(child); return child; }
  replaceChildren() { this.children = []; }
  addEventListener(name, listener) { this.listeners[name] = listener; }
  all(name) { return this.children.flatMap((child) => [...(child.name === name ? [child] : []), ...child.all(name)]); }
  querySelectorAll(name) { return this.all(name); }
  getContext() { return { fillRect: (...box) => this.fills.push(box) }; }
}

const byId = {};
globalThis.window = { devicePixelRatio: 1 };
globalThis.document = {
  getElementById: (id) => byId[id] ??= Object.assign(new Element(id), { id }),
  createElement: (name) => new Element(name),
  createElementNS: (_, name) => new Element(name),
};
// Laid out once the script has run, as a browser does.
const observers = [];
globalThis.ResizeObserver = class { constructor(callback) { this.callback = callback; } observe() { observers.push(this.callback); } };

document.getElementById("data").textContent = data;
new Function(script)();
observers.forEach((callback) => callback());
if (process.argv[3]) document.getElementById("target").listeners.input({ target: { value: process.argv[3] } });

const panel = (id) => {
  const svg = byId[id].all("svg")[0];
  const marks = {};
  for (const { attributes: { href, x, y } } of svg.all("use")) (marks[href.slice("#mark-".length)] ??= []).push([x, y]);
  const plane = svg.all("rect").find((rect) => rect.attributes.class === "axis" && rect.attributes.y > 20).attributes;
  const boundary = svg.all("path").filter((path) => path.attributes.stroke === "#fff").map((path) => path.attributes.d);
  return { plane, marks, boundary, texts: svg.all("text").map((element) => element.textContent) };
};
const readings = (id) => byId[id].all("dd").map((element) => element.textContent);
console.log(JSON.stringify({
  panels: { steps: panel("steps"), kept: panel("kept") },
  fewest: readings("fewest"),
  command: byId["fewest-command"].textContent,
  names: Object.fromEntries(["default-name", "chosen-name", "boundary-name"].map((id) => [id, byId[id]?.textContent])),
}));
