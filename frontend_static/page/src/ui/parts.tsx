/** Small components that the views share. Text from servers is only ever rendered as text. */

import type { ComponentChildren, TargetedKeyboardEvent } from "preact";
import { useLayoutEffect, useRef, useState } from "preact/hooks";
import { announce } from "../announce.js";
import { useKeys } from "../keys.js";
import { Icon } from "./icons.js";

/** A message across the width: `bad` for errors, `warn` for warnings. */
export function Banner({ kind = "info", children }: { kind?: "info" | "warn" | "bad"; children: ComponentChildren }) {
  return (
    <div class={`banner ${kind}`} role={kind === "bad" ? "alert" : "note"}>
      {children}
    </div>
  );
}

/** Shown in place of an empty list or view. */
export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** A short label with a colour; colour alone never carries the meaning. */
export function Badge({ kind = "", title, children }: { kind?: "" | "good" | "warn" | "bad" | "accent"; title?: string; children: ComponentChildren }) {
  return (
    <span class={`badge ${kind}`} title={title}>
      {children}
    </span>
  );
}

/** The filter field that `/` focuses. Escape clears it; Enter and ↓ call `onLeave`, which moves on to the filtered list. */
export function Filter({ label, value, onInput, onLeave }: { label: string; value: string; onInput: (value: string) => void; onLeave?: () => void }) {
  const field = useRef<HTMLInputElement>(null);
  useKeys(() => [{ key: "/", label: label.toLowerCase(), run: () => field.current?.focus() }], [label]);
  return (
    <input
      ref={field}
      type="search"
      class="filter"
      aria-label={label}
      placeholder={`${label}  /`}
      spellcheck={false}
      value={value}
      onInput={(event) => onInput(event.currentTarget.value)}
      onKeyDown={(event) => {
        if (onLeave && !event.isComposing && ["Enter", "ArrowDown"].includes(event.key)) {
          event.preventDefault();
          return onLeave();
        }
        if (event.key !== "Escape") return;
        if (value === "") event.currentTarget.blur();
        onInput("");
        event.preventDefault();
      }}
    />
  );
}

/** Copies a text to the clipboard and announces that. @param shown what the button shows; an icon where it is empty. */
export function CopyButton({ text, label = "Copy", shown = "" }: { text: () => string; label?: string; shown?: string }) {
  const [done, setDone] = useState(false);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text());
      setDone(true);
      announce("copied");
      setTimeout(() => setDone(false), 1_500);
    } catch {
      announce("the browser denied access to the clipboard");
    }
  };
  return (
    <button type="button" class="quiet" aria-label={shown || label} title={label} onClick={copy}>
      {done ? "copied" : <Icon name="copy" />} {!done && shown}
    </button>
  );
}

/** A key handler: arrows, Home and End move the focus among the elements that match the selector `items`. */
export function moveFocus(items: string): (event: TargetedKeyboardEvent<HTMLElement>) => void {
  return (event) => {
    const all = [...event.currentTarget.querySelectorAll<HTMLElement>(items)];
    const at = all.indexOf(document.activeElement as HTMLElement);
    const places: Record<string, number> = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
    const to = places[event.key];
    if (to === undefined || all.length === 0) return;
    all[Math.max(0, Math.min(to, all.length - 1))]?.focus();
    event.preventDefault();
  };
}

/** A text of which the first lines are shown, and all of it on request. */
export function Clamped({ text }: { text: string }) {
  const element = useRef<HTMLParagraphElement>(null);
  const [long, setLong] = useState(false);
  const [open, setOpen] = useState(false);
  useLayoutEffect(() => {
    const { scrollHeight = 0, clientHeight = 0 } = element.current ?? {};
    setOpen(false);
    setLong(scrollHeight > clientHeight + 1);
  }, [text]);
  return (
    <div class="clamped">
      <p ref={element} class={`said ${open ? "" : "clamp"}`}>
        {text}
      </p>
      {long && (
        <button type="button" class="quiet" aria-expanded={open} onClick={() => setOpen(!open)}>
          {open ? "Show less" : "Show all"}
        </button>
      )}
    </div>
  );
}
