/** Dialogs over the page, and the one that asks before something is done that cannot be undone. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useAttempt } from "./attempt.js";
import { Icon } from "./icons.js";
import { Banner } from "./parts.js";

/** A modal dialog; shown while it is rendered. The focus returns to where it was. */
export function Dialog({ title, wide = false, onClose, children }: { title: string; /** Whether it may fill the window. */ wide?: boolean; onClose: () => void; children: ComponentChildren }) {
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement;
    element.current?.showModal();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);
  return (
    <dialog ref={element} class={wide ? "wide" : ""} aria-label={title} onClose={onClose} onCancel={onClose}>
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

interface ConfirmProps {
  title: string;
  /** Label of the button that goes ahead. */
  yes: string;
  act: () => Promise<void>;
  onClose: () => void;
  /** What will happen, in a sentence or two. */
  children: ComponentChildren;
}

/** Ask before an action that cannot be undone. Closes after the action, or shows why it failed. */
export function Confirm({ title, yes, act, onClose, children }: ConfirmProps) {
  const { busy, error, attempt } = useAttempt();
  const confirm = async (): Promise<void> => {
    if (await attempt("confirm", act)) onClose();
  };
  return (
    <Dialog title={title} onClose={onClose}>
      <div class="stack">
        <p>{children}</p>
        {error && <Banner kind="bad">{error}</Banner>}
        <div class="row">
          <button type="button" class="danger" disabled={busy !== ""} onClick={() => void confirm()}>
            {yes}
          </button>
          <button type="button" onClick={onClose}>
            Cancel
          </button>
        </div>
      </div>
    </Dialog>
  );
}
