/** A picture that fills the window, or has its own size, when it is chosen. */

import { useState } from "preact/hooks";
import { Dialog } from "./dialog.js";

/** @param type content type, as the server gave it. */
export function Picture({ source, type }: { source: string; type: string }) {
  const [open, setOpen] = useState(false);
  const [actual, setActual] = useState(false);
  const [size, setSize] = useState("");
  const alt = `image sent by the server, ${type}`;
  const measure = (event: { currentTarget: HTMLImageElement }): void => setSize(`${event.currentTarget.naturalWidth} × ${event.currentTarget.naturalHeight}`);
  return (
    <>
      <button type="button" class="picture" title="Enlarge" aria-label={`Enlarge the ${alt}`} onClick={() => setOpen(true)}>
        <img src={source} alt={alt} onLoad={measure} />
      </button>
      {open && (
        <Dialog title={`${type}, ${size}`} wide onClose={() => setOpen(false)}>
          <div class="stack">
            <div class="row">
              <button type="button" aria-pressed={actual} onClick={() => setActual(!actual)}>
                Actual size
              </button>
            </div>
            <div class={`enlarged ${actual ? "actual" : ""}`} tabIndex={0} role="region" aria-label="Enlarged image">
              <img src={source} alt={alt} />
            </div>
          </div>
        </Dialog>
      )}
    </>
  );
}
