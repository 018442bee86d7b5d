/**
 * Markdown from a server. Markup in it stays text, except for tags without attributes that only structure a text, and DOMPurify
 * reduces the result to a list of harmless elements: no scripts, styles, forms or pictures (a picture's address would be
 * requested). Links are http(s) only and open in a new tab.
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
  for (const link of fragment.querySelectorAll("a")) {
    link.target = "_blank";
    link.rel = "noopener noreferrer";
  }
  for (const table of fragment.querySelectorAll("table")) table.className = "data";
  for (const block of fragment.querySelectorAll("pre")) block.tabIndex = 0;
  return fragment;
}

/** Tags that are not shown as text where they have no attributes. */
const STRUCTURE = /&lt;(\/?(?:b|br|blockquote|code|dd|del|details|div|dl|dt|em|hr|i|kbd|li|mark|ol|p|pre|s|samp|strong|sub|summary|sup|ul))\s*\/?&gt;/gi;

const RENDERER = new marked.Renderer();
RENDERER.html = ({ text }) => escaped(text).replace(STRUCTURE, "<$1>");
RENDERER.image = ({ href, text }) => linkTo(href, escaped(text || href));
RENDERER.link = function ({ href, tokens }) {
  return linkTo(href, this.parser.parseInline(tokens));
};

/** A link, or its text and its address where that must not be followed. */
function linkTo(address: string, label: string): string {
  return isWeb(address) ? `<a href="${escaped(address)}">${label}</a>` : `${label} (${escaped(address)})`;
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
