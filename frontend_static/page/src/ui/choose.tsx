/** A filtered list with the selected item beside it; on a narrow screen, one at a time. */

import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { Icon } from "./icons.js";
import { Banner, Empty, Filter, moveFocus } from "./parts.js";

export interface Item {
  readonly key: string;
  readonly title: string;
  readonly description: string;
  readonly href: string;
}

interface Props {
  label: string;
  items: readonly Item[] | undefined;
  error: string;
  /** Whether items may still arrive. */
  loading: boolean;
  chosen: string | undefined;
  /** The address of the list alone. */
  back: string;
  children: ComponentChildren;
}

export function Choose({ label, items, error, loading, chosen, back, children }: Props) {
  const [filter, setFilter] = useState("");
  const wanted = filter.toLowerCase();
  const shown = items?.filter(({ title, description }) => `${title}\n${description}`.toLowerCase().includes(wanted));
  const { list, detail, stop, setActive, onClick } = useFocus(shown, chosen);
  return (
    <div class={`choose ${chosen === undefined ? "" : "chosen"}`}>
      <div class="choose-list">
        <Filter label={`Filter ${label}`} value={filter} onInput={setFilter} onLeave={() => list.current?.querySelector("a")?.focus()} />
        {error && <Banner kind="bad">{error}</Banner>}
        {items === undefined && <Empty>{loading ? "Loading …" : "Not connected."}</Empty>}
        {items?.length === 0 && !error && <Empty>This server has no {label}.</Empty>}
        {items !== undefined && items.length > 0 && shown?.length === 0 && <Empty>No {label} match the filter.</Empty>}
        <ul ref={list} class="list" aria-label={label} onKeyDown={moveFocus("a")}>
          {shown?.map(({ key, title, description, href }) => (
            <li key={key}>
              <a href={href} tabIndex={key === stop ? 0 : -1} aria-current={key === chosen ? "true" : undefined} title={description} onFocus={() => setActive(key)} onClick={(event) => onClick(event, key)}>
                <span class="name">{title}</span>
                {description && <span class="muted description">{description}</span>}
              </a>
            </li>
          ))}
        </ul>
      </div>
      <section ref={detail} class="choose-detail" tabIndex={-1} aria-label={items?.find(({ key }) => key === chosen)?.title ?? chosen ?? `no ${label} selected`}>
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

/** Focus in the list and the detail beside it. The list is one Tab stop; choosing with the keyboard leads into the detail. */
function useFocus(shown: readonly Item[] | undefined, chosen: string | undefined) {
  const list = useRef<HTMLUListElement>(null);
  const detail = useRef<HTMLElement>(null);
  const [active, setActive] = useState<string | undefined>();
  /** Whether the next detail that is shown gets the focus. */
  const leads = useRef(false);
  const isShown = (key: string | undefined): boolean => shown?.some((item) => item.key === key) ?? false;
  // The item that had the focus, else the chosen one, else the first.
  const stop = [active, chosen].find((key) => key !== undefined && isShown(key)) ?? shown?.[0]?.key;
  const visible = isShown(chosen);
  useLayoutEffect(() => {
    setActive(chosen);
    if (visible) list.current?.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
    if (leads.current) detail.current?.focus();
    leads.current = false;
  }, [chosen, visible]);
  const onClick = (event: MouseEvent, key: string): void => {
    const byMouse = event.detail !== 0;
    if (byMouse || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (key === chosen) detail.current?.focus();
    else leads.current = true;
  };
  return { list, detail, stop, setActive, onClick };
}
