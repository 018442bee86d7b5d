/** A list of objects as a table that can be sorted and saved as CSV. */

import { useMemo, useState } from "preact/hooks";
import { cellOf, compareCells, csvOf, type Tabular } from "../results/shape.js";
import { saveFile } from "../save.js";
import { JsonTree } from "./json.js";
import { CopyButton } from "./parts.js";

/** Rows shown before a button shows more. */
const FIRST_ROWS = 100;
/** Characters of a cell; the tree has the whole text. */
const LONG = 300;

/** Characters of a cell that gets some width, where the table is wider than its place. */
const WIDE = 24;

interface Sorting {
  readonly column: string;
  readonly down: boolean;
}

export default function DataTable({ table, name }: { table: Tabular; name: string }) {
  const [sorting, setSorting] = useState<Sorting | undefined>();
  const [count, setCount] = useState(FIRST_ROWS);
  const { columns, member, rest } = table;
  const rows = useMemo(() => sorted(table.rows, sorting), [table, sorting]);
  const numbers = useMemo(() => new Set(columns.filter((column) => rows.some((row) => typeof of(row, column) === "number"))), [rows]);
  const csv = (): string => csvOf({ columns, rows });
  const sortBy = (column: string): void => setSorting({ column, down: sorting?.column === column && !sorting.down });
  return (
    <div class="stack">
      {rest !== undefined && <JsonTree value={rest} open={1} />}
      <div class="row wrap">
        <span class="muted">
          {member && <code>{member}</code>} {rows.length.toLocaleString()} {rows.length === 1 ? "row" : "rows"}
        </span>
        <span class="spring" />
        <CopyButton text={csv} label="Copy as CSV" />
        <button type="button" class="quiet" onClick={() => saveFile(`${name}.csv`, csv(), "text/csv;charset=utf-8")}>
          Save as CSV
        </button>
      </div>
      <div class="scroll data-table" tabIndex={0} role="region" aria-label={`Table of ${name}`}>
        <table class="data">
          <thead>
            <tr>
              {columns.map((column) => (
                <Heading key={column} column={column} number={numbers.has(column)} sorting={sorting} onSort={() => sortBy(column)} />
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.slice(0, count).map((row, index) => (
              <tr key={index}>
                {columns.map((column) => (
                  <Cell key={column} value={of(row, column)} />
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {rows.length > count && (
        <button type="button" onClick={() => setCount(count + 10 * FIRST_ROWS)}>
          Show {Math.min(rows.length - count, 10 * FIRST_ROWS).toLocaleString()} more rows
        </button>
      )}
    </div>
  );
}

function of(row: Tabular["rows"][number], column: string): unknown {
  return Object.hasOwn(row, column) ? row[column] : undefined;
}

function sorted(rows: Tabular["rows"], sorting: Sorting | undefined): Tabular["rows"] {
  if (sorting === undefined) return rows;
  const { column, down } = sorting;
  return [...rows].sort((first, second) => (down ? compareCells(of(second, column), of(first, column)) : compareCells(of(first, column), of(second, column))));
}

function Heading({ column, number, sorting, onSort }: { column: string; /** Whether it is above numbers. */ number: boolean; sorting: Sorting | undefined; onSort: () => void }) {
  const own = sorting?.column === column ? sorting : undefined;
  return (
    <th scope="col" class={number ? "number" : ""} aria-sort={own === undefined ? undefined : own.down ? "descending" : "ascending"}>
      <button type="button" class="quiet" onClick={onSort}>
        {column} {own && (own.down ? "↓" : "↑")}
      </button>
    </th>
  );
}

function Cell({ value }: { value: unknown }) {
  const text = cellOf(value);
  const kind = typeof value === "number" ? "number" : typeof value === "string" ? "" : "mono";
  return <td class={text.length > WIDE ? `${kind} wide` : kind}>{text.length > LONG ? <span title="The tree shows all of it.">{text.slice(0, LONG)}…</span> : text}</td>;
}
