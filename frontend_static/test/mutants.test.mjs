// Seeded bugs that the random schedules must catch: a check that cannot fail checks nothing.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath, pathToFileURL } from "node:url";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const MUTANTS = {
  "replay starts one too late": ["channel", "this.#kept.map(({ data }) => data)", "this.#kept.slice(1).map(({ data }) => data)"],
  "replay sends again what was received": ["channel", "        this.acknowledge(recv);\n", ""],
  "replay in the wrong order": ["channel", "this.#kept.map(({ data }) => data)", "this.#kept.map(({ data }) => data).reverse()"],
  "trim before the peer has acknowledged": ["channel", "this.sent += 1;", "this.sent += 1; if (this.unacked > 12) this.acknowledge(this.base + 1);"],
  "more is acknowledged than was taken": ["channel", 'recv: this.received }', 'recv: this.received + 1 }'],
  "what is sent without a link is dropped": ["resume", "        this.channel.push(text);\n", "        if (!this.live) return false;\n        this.channel.push(text);\n"],
  "the hello forgets what was received": ["resume", "recv: this.channel.received", "recv: 0"],
  "the token is not renewed": ["resume", "        this.#token = control.token;\n        this.#refused", "        this.#refused"],
};

for (const [name, [module, from, to]] of Object.entries(MUTANTS)) {
  test(`caught: ${name}`, () => {
    const folder = mkdtempSync(join(tmpdir(), "mutant-"));
    try {
      cpSync(here("../dist"), folder, { recursive: true });
      writeFileSync(join(folder, "package.json"), '{"type":"module"}');
      const file = join(folder, `${module}.js`);
      const source = readFileSync(file, "utf8");
      assert.ok(source.includes(from), "the code has changed: adapt the mutant");
      writeFileSync(file, source.replace(from, to));
      const { NODE_TEST_CONTEXT: _, ...env } = process.env;
      const done = spawnSync(process.execPath, [here("schedules.test.mjs")], { env: { ...env, DIST: `${pathToFileURL(folder).href}/` } });
      assert.notEqual(done.status, 0, "it passed");
      assert.match(String(done.stdout), /seed \d+|not good any more|PositionError|Violation|frames/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
}
