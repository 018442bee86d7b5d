// The filter language, over the vectors that mcp-ws-inspect is tested against as well (tests/vectors/filters.json).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { FilterError, KEYS, LIMITS, parseFilter } from "../build/page/traffic/filter.js";
import { Rows } from "../build/page/traffic/rows.js";

const { keys, limits, differences, records, cases, errors } = JSON.parse(readFileSync(new URL("../../tests/vectors/filters.json", import.meta.url), "utf8"));
const rows = new Rows();
rows.add(records.map((record) => JSON.stringify(record)));

/** What the page leaves out of the language; each is listed under `differences`. */
const LEFT_OUT = { is: ["marked"] };

test("the page knows the keys, values and units of the table", () => {
  const mine = Object.fromEntries(Object.entries(KEYS).map(([name, { type, values, units }]) => [name, { type, ...(values && { values: [...values] }), ...(units && { units }) }]));
  const table = structuredClone(keys);
  for (const [name, values] of Object.entries(LEFT_OUT)) table[name].values = table[name].values.filter((value) => !values.includes(value));
  assert.deepEqual(mine, table);
  assert.deepEqual(LIMITS, limits);
});

test("what the page leaves out is an error that names the reason", () => {
  assert.deepEqual(differences.filter(({ page }) => page.startsWith("refused")).map(({ term }) => term), ["~regex", "is:marked"]);
  assert.throws(() => parseFilter("~regex"), /regular expressions are not supported on this page/);
  assert.throws(() => parseFilter("is:marked"), /"marked" is not one of/);
});

for (const { filter, matches, page = matches } of cases) {
  test(`filter vector: ${filter}`, () => {
    const matching = parseFilter(filter);
    assert.deepEqual(rows.all.flatMap((row, index) => (matching(row) ? [index] : [])), page);
  });
}

for (const { filter, position } of errors) {
  test(`mistaken filter: ${filter.slice(0, 60)}`, () => {
    assert.throws(() => parseFilter(filter), (error) => error instanceof FilterError && error.position === position);
  });
}
