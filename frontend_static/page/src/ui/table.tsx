/** Tables of the page: plain ones, facts about one thing, and lists with a filter above them. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Banner, Empty, Filter } from "./parts.js";

/** @param columns their heads: `#Memory` is above numbers, and an empty one above buttons. */
export function Table({ columns, kind = "", children }: { columns: readonly string[]; kind?: string; children: ComponentChildren }) {
  return (
    <table class={`data ${kind}`}>
      <thead>
        <tr>
          {columns.map((name) => (
            <th key={name} class={name.startsWith("#") ? "number" : ""}>
              {name === "" ? <span class="visually-hidden">Actions</span> : name.replace("#", "")}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>{children}</tbody>
    </table>
  );
}

/** Names with their values; empty values are left out. */
export function Facts({ facts, children }: { facts: readonly (readonly [name: string, value: ComponentChildren])[]; children?: ComponentChildren }) {
  return (
    <table class="data about">
      <tbody>
        {facts.map(([name, value]) => value !== "" && (
          <tr key={name}>
            <th scope="row">{name}</th>
            <td>{value}</td>
          </tr>
        ))}
        {children}
      </tbody>
    </table>
  );
}

interface FilteredTableProps<T> {
  /** What the rows are, in the plural: `servers`. */
  label: string;
  columns: readonly string[];
  /** Undefined until they are loaded. */
  items: readonly T[] | undefined;
  /** Why they could not be loaded; empty unless that failed. */
  error: string;
  /** The texts of an item that the filter searches. */
  textsOf: (item: T) => readonly string[];
  /** Shown in place of an empty table. */
  empty: ComponentChildren;
  /** Shown beside the filter. */
  tools?: ComponentChildren;
  row: (item: T) => ComponentChildren;
}

/** A table with a filter above it, in a region that scrolls where the table is wider than the window. */
export function FilteredTable<T>({ label, columns, items, error, textsOf, empty, tools, row }: FilteredTableProps<T>) {
  const [filter, setFilter] = useState("");
  const shown = items?.filter((item) => textsOf(item).join(" ").toLowerCase().includes(filter.toLowerCase())) ?? [];
  return (
    <>
      {error && <Banner kind="bad">{error}</Banner>}
      <div class="row wrap">
        <Filter label={`Filter ${label}`} value={filter} onInput={setFilter} />
        {tools}
      </div>
      {items === undefined && !error && <Empty>Loading …</Empty>}
      {items?.length === 0 && <Empty>{empty}</Empty>}
      {items !== undefined && items.length > 0 && shown.length === 0 && <Empty>No {label} match the filter.</Empty>}
      {shown.length > 0 && (
        <div class="scroll" tabIndex={0} role="region" aria-label={`Table of ${label}`}>
          <Table kind={label} columns={columns}>
            {shown.map(row)}
          </Table>
        </div>
      )}
    </>
  );
}
