/**
 * Markdown from a server. The text becomes HTML that DOMPurify reduces to a list of harmless elements: no scripts, styles,
 * forms or pictures (a picture's address would be requested), and only http(s) links, which open in a new tab.
 */

import DOMPurify, { type Config } from "dompurify";
import { marked } from "marked";
import { useLayoutEffect, useRef } from "preact/hooks";
import { isWeb } from "./web.js";

const ALLOWED: Config & { RETURN_DOM_FRAGMENT: true } = {
  ALLOWED_TAGS: "a b blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i kbd li mark ol p pre s samp span strong sub summary sup table tbody td th thead tr ul".split(" "),
  ALLOWED_ATTR: ["href", "title", "align", "start"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};

export default function Markdown({ text }: { text: string }) {
  const here = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => here.current?.replaceChildren(rendered(text)), [text]);
  return <div ref={here} class="markdown" />;
}

function rendered(text: string): DocumentFragment {
  const html = marked.parse(text, { async: false, gfm: true, renderer: RENDERER });
  const fragment = DOMPurify.sanitize(html, ALLOWED);
  for (const link of fragment.querySelectorAll("a")) restrict(link);
  for (const table of fragment.querySelectorAll("table")) table.className = "data";
  for (const block of fragment.querySelectorAll("pre")) block.tabIndex = 0;
  return fragment;
}

const RENDERER = new marked.Renderer();
/** A picture is a link to it. */
RENDERER.image = ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`;

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");
}

function restrict(link: HTMLAnchorElement): void {
  const address = link.getAttribute("href") ?? "";
  if (isWeb(address)) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    return;
  }
  link.removeAttribute("href");
  if (address && link.textContent !== address) link.append(` (${address})`);
}
