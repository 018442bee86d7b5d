// No module imports itself through others; imports of types and imports at run time count like any other.
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { test } from "node:test";

const root = resolve(import.meta.dirname, "..");
const IMPORT = /(?:from|import\()\s*["'](\.[^"']+)["']/g;

function sourcesIn(folder) {
  const names = readdirSync(join(root, folder), { recursive: true });
  return names.filter((name) => /\.tsx?$/.test(name)).map((name) => join(root, folder, name));
}

function importsOf(path) {
  const targets = [...readFileSync(path, "utf8").matchAll(IMPORT)].map(([, target]) => resolve(dirname(path), target.replace(/\.js$/, "")));
  return targets.flatMap((target) => [`${target}.ts`, `${target}.tsx`].filter(existsSync));
}

/** The modules of a circle, the first one twice; empty without one. */
function circleIn(graph) {
  const done = new Set();
  const visit = (path, trail) => {
    if (trail.includes(path)) return [...trail.slice(trail.indexOf(path)), path];
    if (done.has(path)) return [];
    for (const target of graph.get(path) ?? []) {
      const circle = visit(target, [...trail, path]);
      if (circle.length > 0) return circle;
    }
    done.add(path);
    return [];
  };
  for (const path of graph.keys()) {
    const circle = visit(path, []);
    if (circle.length > 0) return circle.map((each) => relative(root, each));
  }
  return [];
}

test("no module of the client, the page or the JupyterLab extension imports itself through others", () => {
  const graph = new Map(["src", "page/src", "lab/src"].flatMap(sourcesIn).map((path) => [path, importsOf(path)]));
  assert.ok(graph.size > 80, `only ${graph.size} modules were read`);
  assert.deepEqual(circleIn(graph), []);
});
