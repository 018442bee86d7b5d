/** The theme: light, dark or the system's; inside JupyterLab, JupyterLab's. */

import { effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";
const KEY = "mcp-ws-theme";

/** Whether the page is a panel of JupyterLab (`?embed=lab`), which then sets the theme. */
export const embedded = new URLSearchParams(location.search).get("embed") === "lab";

/** The user's choice. */
export const theme = signal<Theme>(embedded ? "system" : stored());

function stored(): Theme {
  try {
    const value = localStorage.getItem(KEY);
    return value === "light" || value === "dark" ? value : "system";
  } catch {
    return "system"; // storage is forbidden
  }
}

/** Switch to the next theme. */
export function nextTheme(): void {
  theme.value = theme.value === "system" ? "light" : theme.value === "light" ? "dark" : "system";
  try {
    localStorage.setItem(KEY, theme.value);
  } catch {
    // storage is forbidden: the choice lasts until the page is closed
  }
}

const VARIABLE = /^--jp-[a-z0-9-]+$/;
/** Values of colours, sizes and fonts only: nothing that loads a resource. */
const VALUE = /^[\w\s#%.,()'"+/-]{1,200}$/;

/** Apply the user's choice and, inside JupyterLab, its theme. */
export function followTheme(): void {
  const root = document.documentElement;
  if (embedded) root.dataset["embed"] = "lab";
  effect(() => {
    if (theme.value === "system") delete root.dataset["theme"];
    else root.dataset["theme"] = theme.value;
  });
  if (embedded) window.addEventListener("message", fromParent);
}

function fromParent({ origin, source, data }: MessageEvent): void {
  if (origin !== location.origin || source !== window.parent || window.parent === window) return;
  if (data?.type !== "mcp-ws-theme") return;
  theme.value = data.dark === true ? "dark" : "light";
  const { style } = document.documentElement;
  for (const [name, value] of Object.entries(data.variables ?? {})) {
    if (VARIABLE.test(name) && typeof value === "string" && VALUE.test(value) && !/url|image/i.test(value)) {
      style.setProperty(name, value);
    }
  }
}
