/** A list with a filter beside what was chosen from it; on a narrow page one at a time. */

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
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
  const list = useRef<HTMLUListElement>(null);
  const detail = useRef<HTMLElement>(null);
  const [active, setActive] = useState<string | undefined>();
  // The list is one stop of Tab, however long: where the focus was, or what is chosen, or its first item.
  const stop = [active, chosen].find((key) => key !== undefined && shown?.some((item) => item.key === key)) ?? shown?.[0]?.key;
  const there = shown?.some(({ key }) => key === chosen) ?? false;
  const leads = useRef(false);
  useLayoutEffect(() => {
    setActive(chosen);
    if (there) list.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
    if (leads.current) detail.current?.focus();
    leads.current = false;
  }, [chosen, there]);
  /** Who chooses with a key goes on in what was chosen; a click of a mouse leaves the focus. */
  const choose = (event: MouseEvent, key: string): void => {
    if (event.detail !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (key === chosen) detail.current?.focus();
    else leads.current = true;
  };
  return (
    <div class={`choose ${chosen === undefined ? "" : "chosen"}`}>
      <div class="choose-list">
        <Filter label={`Filter ${label}`} value={filter} onInput={setFilter} onLeave={() => list.current?.querySelector("a")?.focus()} />
        {error && <Banner kind="bad">{error}</Banner>}
        {items === undefined && <Empty>{asking ? "Asking …" : "Not connected."}</Empty>}
        {items?.length === 0 && !error && <Empty>The server has none.</Empty>}
        {items !== undefined && items.length > 0 && shown?.length === 0 && <Empty>None of {items.length} matches.</Empty>}
        <ul ref={list} class="list" aria-label={label} onKeyDown={moveFocus("a")}>
          {shown?.map((item) => (
            <li key={item.key}>
              <a
                href={item.href}
                tabIndex={item.key === stop ? 0 : -1}
                aria-current={item.key === chosen ? "true" : undefined}
                title={item.words}
                onFocus={() => setActive(item.key)}
                onClick={(event) => choose(event, item.key)}
              >
                <span class="name">{item.title}</span>
                {item.words && <span class="muted words">{item.words}</span>}
              </a>
            </li>
          ))}
        </ul>
      </div>
      <section ref={detail} class="choose-detail" tabIndex={-1} aria-label={items?.find(({ key }) => key === chosen)?.title ?? chosen ?? "nothing chosen"}>
        {chosen !== undefined && (
          <a class="back" href={back}>
            <Icon name="back" /> {label}
          </a>
        )}
        {children}
      </section>
    </div>
  );
}
