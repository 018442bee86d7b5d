/** Small parts that the views share. Text of servers only ever becomes text. */

import type { ComponentChildren, TargetedKeyboardEvent } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { announce } from "../announce.js";
import { useKeys } from "../keys.js";
import { Icon } from "./icons.js";

/** A message across the width: `bad` for errors, `warn` for what deserves a look. */
export function Banner({ kind = "info", children }: { kind?: "info" | "warn" | "bad"; children: ComponentChildren }) {
  return (
    <div class={`banner ${kind}`} role={kind === "bad" ? "alert" : "note"}>
      {children}
    </div>
  );
}

/** What stands where there is nothing. */
export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** A short word with a colour; never a colour alone. */
export function Badge({ kind = "", title, children }: { kind?: "" | "good" | "warn" | "bad" | "accent"; title?: string; children: ComponentChildren }) {
  return (
    <span class={`badge ${kind}`} title={title}>
      {children}
    </span>
  );
}

/** The field that `/` goes to; Escape empties it, and Enter or ↓ goes on to what it filters where `onLeave` does. */
export function Filter({ label, value, onInput, onLeave }: { label: string; value: string; onInput: (value: string) => void; onLeave?: () => void }) {
  const field = useRef<HTMLInputElement>(null);
  useKeys(() => [{ key: "/", words: label, run: () => field.current?.focus() }], [label]);
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

/** Copies a text and says so. */
export function CopyButton({ text, label = "Copy" }: { text: () => string; label?: string }) {
  const [done, setDone] = useState(false);
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text());
      setDone(true);
      announce("copied");
      setTimeout(() => setDone(false), 1_500);
    } catch {
      announce("the browser did not allow to copy");
    }
  };
  return (
    <button type="button" class="quiet" aria-label={label} title={label} onClick={copy}>
      {done ? "copied" : <Icon name="copy" />}
    </button>
  );
}

/** A dialogue over the page; it is shown while it is rendered. */
export function Dialog({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    element.current?.showModal();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog ref={element} aria-label={title} onClose={onClose} onCancel={onClose}>
      <header class="row">
        <h2>{title}</h2>
        <span class="spring" />
        <button type="button" class="quiet" aria-label="Close" onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      {children}
    </dialog>
  );
}

/** Asks before something is done that cannot be taken back; it closes once `act` is done, and shows why it failed. */
export function Confirm({ title, yes, act, onClose, children }: { title: string; yes: string; act: () => Promise<void>; onClose: () => void; children: ComponentChildren }) {
  const [wrong, setWrong] = useState("");
  const done = (): Promise<void> => act().then(onClose, (error: Error) => setWrong(error.message));
  return (
    <Dialog title={title} onClose={onClose}>
      <div class="stack">
        <p>{children}</p>
        {wrong && <Banner kind="bad">{wrong}</Banner>}
        <div class="row">
          <button type="button" class="danger" onClick={() => void done()}>
            {yes}
          </button>
          <button type="button" onClick={onClose}>
            Keep it
          </button>
        </div>
      </div>
    </Dialog>
  );
}

/** The heads of a table's columns: `#Memory` stands over numbers, and an empty one over buttons. */
export function Columns({ names }: { names: readonly string[] }) {
  return (
    <thead>
      <tr>
        {names.map((name) => (
          <th key={name} class={name.startsWith("#") ? "number" : ""}>
            {name === "" ? <span class="visually-hidden">Actions</span> : name.replace("#", "")}
          </th>
        ))}
      </tr>
    </thead>
  );
}

/** A table that may be wider than the window. */
export function WideTable({ label, kind, columns, children }: { label: string; kind: string; columns: readonly string[]; children: ComponentChildren }) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={label}>
      <table class={`data ${kind}`}>
        <Columns names={columns} />
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

/** Whether one of the texts contains what was typed into a filter. */
export function matches(filter: string, ...texts: readonly string[]): boolean {
  return texts.join(" ").toLowerCase().includes(filter.toLowerCase());
}

/** Arrows, Home and End move the focus among the elements that match `items`. */
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
