// How results are shown: what repeats itself, tables, Markdown, and calls as Python.
import assert from "node:assert/strict";
import { test } from "node:test";
import { literal, pythonOf } from "../build/page/results/python.js";
import { compareCells, csvOf, looksLikeMarkdown, structureOf, tableOf, unrepeated } from "../build/page/results/shape.js";

const text = (value) => ({ type: "text", text: typeof value === "string" ? value : JSON.stringify(value, null, 2) });
const shown = (content, structured) => Object.entries(unrepeated(content, structured)).filter(([, yes]) => yes).map(([name]) => name).join("+");

test("what text and structured content both say is shown once", () => {
  const rows = [{ a: 1, b: "x" }, { a: 2, b: "y" }];
  assert.equal(shown([text({ b: 1, a: [null, 2] })], { a: [null, 2], b: 1 }), "structured");
  assert.equal(shown([text("3")], { result: 3 }), "content");
  assert.equal(shown([text("hello")], { result: "hello" }), "content");
  assert.equal(shown([text("true")], { result: true }), "content");
  assert.equal(shown([text("noon")], { time: "noon" }), "structured", "with its name");
  assert.equal(shown([text("a\nb")], { content: "a\nb" }), "content", "lines stay lines");
  assert.equal(shown([text(rows)], { result: rows }), "structured");
  assert.equal(shown(rows.map(text), { result: rows }), "structured", "one text for each item");
  assert.equal(shown(["a", "b"].map(text), { result: ["a", "b"] }), "structured");
});

test("what differs is shown, both of it", () => {
  assert.equal(shown([text("3 items found")], { items: [1, 2, 3] }), "content+structured");
  assert.equal(shown([text({ a: 1 })], { a: 2 }), "content+structured");
  assert.equal(shown([text({ a: 1 }), { type: "image", data: "", mimeType: "image/png" }], { a: 1 }), "content+structured");
  assert.equal(shown([text({ a: 1 }), text({ a: 1 })], { a: 1 }), "content+structured");
  assert.equal(shown([], { a: 1 }), "content+structured");
  assert.equal(shown([text("x")], undefined), "content+structured");
  assert.equal(shown([text("null")], { result: null, other: 1 }), "content+structured");
  assert.equal(shown([{ type: "text", text: 7 }, null], { result: 7 }), "content+structured", "what does not conform is not hidden");
});

test("a list of objects is a table, alone or as the only such member of an object", () => {
  const rows = [{ a: 1 }, { b: "x", a: 2 }];
  assert.deepEqual(tableOf(rows), { columns: ["a", "b"], rows, member: "", rest: undefined });
  assert.deepEqual(tableOf({ total: 2, items: rows }), { columns: ["a", "b"], rows, member: "items", rest: { total: 2 } });
  for (const other of [[], [1, 2], [{ a: 1 }, 2], {}, { one: rows, two: rows }, null, "text", [{}], [[1]]]) assert.equal(tableOf(other), undefined, JSON.stringify(other));
  const wide = [Object.fromEntries([...Array(41).keys()].map((at) => [`c${at}`, at]))];
  assert.equal(tableOf(wide), undefined);
});

test("CSV follows RFC 4180, keeps numbers, and runs no formula in a spreadsheet", () => {
  const rows = [
    { name: 'say "hi", twice', n: -5, more: { a: [1] } },
    { name: "two\nlines", n: null },
    { name: '=HYPERLINK("http://x")', n: 1.5, more: true },
    { name: "-1+2", constructor: "x" },
  ];
  const csv = csvOf({ columns: ["name", "n", "more", "constructor"], rows });
  assert.equal(
    csv,
    'name,n,more,constructor\r\n"say ""hi"", twice",-5,"{""a"":[1]}",\r\n"two\nlines",null,,\r\n"\'=HYPERLINK(""http://x"")",1.5,true,\r\n\'-1+2,,,x\r\n',
  );
});

test("cells are sorted by number where they are numbers, and missing ones come last", () => {
  assert.deepEqual([10, undefined, 9, -1].sort(compareCells), [-1, 9, 10, undefined]);
  assert.deepEqual(["b10", "b9", "a"].sort(compareCells), ["a", "b9", "b10"]);
  assert.equal(compareCells(undefined, 1), 1);
});

test("Markdown is recognized by its marks, and nothing else is taken for it", () => {
  for (const one of ["# Title\n\ntext", "text\n```py\nx\n```", "| a | b |\n|---|---|\n| 1 | 2 |", "- one\n- two\n\n**bold**", "see [it](https://x.org) and `code`"]) assert.ok(looksLikeMarkdown(one), one);
  for (const other of ["", "plain", '{"# a": 1}', "<img src=x>", "#!/bin/sh\nls", "a * b * c", "- one\n- two", "1. a\n2. b", "#include <x.h>", "x = `y`", "2 ** 3 ** 4"]) assert.ok(!looksLikeMarkdown(other), other);
});

test("text that is not JSON, or too long, has no structure", () => {
  assert.deepEqual(structureOf(' {"a": 1}'), { a: 1 });
  for (const other of ["7", "{", "", `[${" ".repeat(8_000_000)}]`]) assert.equal(structureOf(other), undefined);
});

test("a call becomes a Python program", () => {
  const program = pythonOf("https://host/mcp-ws/servers/git", "tool", "log", { max: 3, all: true, path: null, tag: 'a"b\n' });
  assert.match(program, /url, token = "wss:\/\/host\/mcp-ws\/servers\/git", os\.environ\["MCP_WS_TOKEN"\]/);
  assert.match(program, /client\.call_tool\("log", \{"max": 3, "all": True, "path": None, "tag": "a\\"b\\n"\}\)/);
  assert.match(pythonOf("http://h/x", "resource", "demo://a", {}), /"ws:\/\/h\/x"[^]*client\.read_resource\("demo:\/\/a"\)/);
  assert.match(pythonOf("http://h/x", "prompt", "greet", { name: "Ada" }), /client\.get_prompt\("greet", \{"name": "Ada"\}\)/);
  assert.equal(literal([]), "[]");
  assert.equal(literal({ a: ["x".repeat(80), "y".repeat(80)] }), `{\n    "a": [\n        "${"x".repeat(80)}",\n        "${"y".repeat(80)}",\n    ],\n}`);
});
