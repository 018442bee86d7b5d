/** A virtual list: only visible rows are in the document. Rows have one height; keys move through them. */

import type { ComponentChildren } from "preact";
import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";

export const ROW_HEIGHT = 22;
/** Rows rendered above and below the visible ones. */
const MARGIN = 8;

interface Props<T> {
  label: string;
  items: readonly T[];
  /** Index of the chosen item; -1: none. */
  chosen: number;
  onChoose: (index: number) => void;
  /** Whether to keep the newest item visible. */
  follow: boolean;
  /** The user scrolled away from the newest item, or back to it. */
  onFollow: (follow: boolean) => void;
  keyOf: (item: T) => number;
  children: (item: T) => ComponentChildren;
  classOf: (item: T) => string;
}

export function VirtualList<T>({ label, items, chosen, onChoose, follow, onFollow, keyOf, children, classOf }: Props<T>) {
  const { box, top, height, onScroll } = useScrolling(items.length, chosen, follow, onFollow);
  const onKeyDown = (event: KeyboardEvent): void => {
    const to = targetOf(event.key, chosen, items.length - 1, Math.max(1, Math.floor(height / ROW_HEIGHT) - 1));
    if (to === undefined || event.ctrlKey || event.metaKey || event.altKey || items.length === 0) return;
    event.preventDefault();
    onFollow(to >= items.length - 1);
    onChoose(Math.max(0, Math.min(to, items.length - 1)));
  };
  const first = Math.max(0, Math.floor(top / ROW_HEIGHT) - MARGIN);
  const end = Math.min(items.length, Math.ceil((top + height) / ROW_HEIGHT) + MARGIN);
  const active = chosen >= first && chosen < end ? `row-${keyOf(items[chosen] as T)}` : undefined;
  return (
    <div ref={box} class="virtual" role="listbox" tabIndex={0} aria-label={label} aria-activedescendant={active} onScroll={onScroll} onKeyDown={onKeyDown}>
      <div class="virtual-space" role="presentation" style={{ height: `${items.length * ROW_HEIGHT}px` }}>
        {items.slice(first, end).map((item, index) => (
          <div
            key={keyOf(item)}
            id={`row-${keyOf(item)}`}
            role="option"
            aria-selected={first + index === chosen}
            aria-posinset={first + index + 1}
            aria-setsize={items.length}
            class={`virtual-row ${classOf(item)}`}
            style={{ transform: `translateY(${(first + index) * ROW_HEIGHT}px)` }}
            onClick={() => onChoose(first + index)}
          >
            {children(item)}
          </div>
        ))}
      </div>
    </div>
  );
}

/** The index that a key moves to from `chosen`; may lie outside the list, undefined for other keys. */
function targetOf(key: string, chosen: number, last: number, page: number): number | undefined {
  const up = chosen < 0 ? last : chosen - 1;
  const targets: Record<string, number> = {
    ArrowDown: chosen + 1, j: chosen + 1, ArrowUp: up, k: up,
    PageDown: chosen + page, PageUp: chosen - page, Home: 0, g: 0, End: last, G: last,
  };
  return targets[key];
}

/** The scroll position and height of the box, which follows the newest item and keeps the chosen one visible. */
function useScrolling(count: number, chosen: number, follow: boolean, onFollow: (follow: boolean) => void) {
  const box = useRef<HTMLDivElement>(null);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(400);
  /** Where this component scrolled to last: events of other positions are the user's. */
  const expected = useRef(-1);
  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    const measure = new ResizeObserver(() => setHeight(element.clientHeight));
    measure.observe(element);
    return () => measure.disconnect();
  }, []);
  const scrollTo = (to: number): void => {
    const element = box.current;
    if (element === null) return;
    element.scrollTop = to;
    expected.current = element.scrollTop;
    setTop(element.scrollTop);
  };
  useLayoutEffect(() => {
    if (follow) scrollTo(count * ROW_HEIGHT);
  }, [follow, count, height]);
  useEffect(() => {
    const element = box.current;
    if (element === null || chosen < 0) return;
    const at = chosen * ROW_HEIGHT;
    if (at < element.scrollTop) scrollTo(at);
    else if (at + ROW_HEIGHT > element.scrollTop + element.clientHeight) scrollTo(at + ROW_HEIGHT - element.clientHeight);
  }, [chosen]);
  const onScroll = (): void => {
    const element = box.current;
    if (element === null) return;
    setTop(element.scrollTop);
    if (Math.abs(element.scrollTop - expected.current) < 2) return;
    onFollow(element.scrollTop + element.clientHeight >= element.scrollHeight - ROW_HEIGHT);
  };
  return { box, top, height, onScroll };
}
