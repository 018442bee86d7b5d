// The page's type of a tap record, held to the table that the gateway's is exported to (tests/vectors/tap_record.json).
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { isAlarming, KINDS } from "../build/page/traffic/row.js";

const read = (path) => readFileSync(new URL(path, import.meta.url), "utf8");
const { record, optional: some, attached, gap, values } = JSON.parse(read("../../tests/vectors/tap_record.json"));
const [, body] = /export interface TapRecord \{\n(.*?)\n\}/s.exec(read("../page/src/tap.ts"));
const members = [...body.matchAll(/readonly (\w+)(\?)?: (.*);/g)].map(([, name, optional, type]) => ({ name, optional: optional === "?", type }));
const plain = (type) => [...new Set(type.split(" | ").map((part) => (part.startsWith('"') ? "string" : part)))].join(" | ");
const typesOf = (chosen) => Object.fromEntries(chosen.map(({ name, type }) => [name, plain(type)]));

test("the page's type has the members of every record, and as optional ones those that not every record has", () => {
  assert.deepEqual(typesOf(members.filter(({ optional }) => !optional)), record);
  assert.deepEqual(typesOf(members.filter(({ optional }) => optional)), { ...some, ...attached, ...gap });
});

test("the page knows the legs, directions and kinds of the table", () => {
  const literals = (name) => [...members.find((member) => member.name === name).type.matchAll(/"(\w+)"/g)].map(([, value]) => value);
  assert.deepEqual(literals("leg"), values.leg);
  assert.deepEqual(literals("direction"), values.direction);
  assert.deepEqual([...KINDS].sort(), [...values.kind].sort());
});

test("a lost link is a problem, but a client that goes away is none", () => {
  const alarming = ["1001 ", "1001", "1006 ", "10010 ", null].filter((detail) => isAlarming({ event: "link_lost", detail }));
  assert.deepEqual(alarming, ["1006 ", "10010 ", null]);
  assert.equal(isAlarming({ event: "link_closed", detail: "1006" }), false);
});
