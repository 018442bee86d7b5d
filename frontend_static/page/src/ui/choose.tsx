/** A list with a filter beside what was chosen from it; on a narrow page one at a time. */

import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import { Icon } from "./icons.js";
import { Banner, Empty, Filter, moveFocus } from "./parts.js";

export interface Item {
  readonly key: string;
  readonly title: string;
  readonly words: string;
  readonly href: string;
}

interface Props {
  label: string;
  items: readonly Item[] | undefined;
  error: string;
  /** Whether items that are not there may come. */
  asking: boolean;
  chosen: string | undefined;
  /** Where the list alone is. */
  back: string;
  children: ComponentChildren;
}

export function Choose({ label, items, error, asking, chosen, back, children }: Props) {
  const [filter, setFilter] = useState("");
  const wanted = filter.toLowerCase();
  const shown = items?.filter(({ title, words }) => `${title}\n${words}`.toLowerCase().includes(wanted));
  return (
    <div class={`choose ${chosen === undefined ? "" : "chosen"}`}>
      <div class="choose-list">
        <Filter label={`Filter ${label}`} value={filter} onInput={setFilter} />
        {error && <Banner kind="bad">{error}</Banner>}
        {items === undefined && <Empty>{asking ? "Asking …" : "Not connected."}</Empty>}
        {items?.length === 0 && !error && <Empty>The server has none.</Empty>}
        {items !== undefined && items.length > 0 && shown?.length === 0 && <Empty>None of {items.length} matches.</Empty>}
        <ul class="list" aria-label={label} onKeyDown={moveFocus("a")}>
          {shown?.map((item) => (
            <li key={item.key}>
              <a href={item.href} aria-current={item.key === chosen ? "true" : undefined} title={item.words}>
                <span class="name">{item.title}</span>
                {item.words && <span class="muted words">{item.words}</span>}
              </a>
            </li>
          ))}
        </ul>
      </div>
      <div class="choose-detail">
        {chosen !== undefined && (
          <a class="back" href={back}>
            <Icon name="back" /> {label}
          </a>
        )}
        {children}
      </div>
    </div>
  );
}
