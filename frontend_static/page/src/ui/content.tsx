/** Content from a server. Text stays text (Markdown is rendered from a list of harmless elements); images and audio are inline data of known types; only http(s) links are clickable. */

import { useState } from "preact/hooks";
import { saveFile } from "../save.js";
import { JsonTree } from "./json.js";
import { Picture } from "./picture.js";
import { TextBlock } from "./value.js";
import { isWeb } from "./web.js";

const IMAGES = /^image\/(png|jpeg|gif|webp)$/;
const SOUNDS = /^audio\/(wav|x-wav|wave|mpeg|mp3|ogg|webm|mp4|aac|flac)$/;
const MARKDOWN = /^text\/(x-)?markdown\b/;
const BASE64 = /^[A-Za-z0-9+/=\s]*$/;

/** The blocks of a result or a message. */
export function Contents({ blocks }: { blocks: readonly any[] }) {
  return (
    <>
      {blocks.map((block, index) => (
        <Content key={index} block={block} />
      ))}
    </>
  );
}

export function Content({ block }: { block: any }) {
  switch (block?.type) {
    case "text":
      return <TextBlock text={String(block.text)} />;
    case "image":
      return <Media data={block.data} type={block.mimeType} />;
    case "audio":
      return <Media data={block.data} type={block.mimeType} />;
    case "resource_link":
      return <ResourceLink link={block} />;
    case "resource":
      return <ResourceContents contents={block.resource} />;
    default:
      return <JsonTree value={block} />;
  }
}

/** Bytes that a base64 text encodes (RFC 4648 section 4), without padding and white space. */
export function sizeOf(base64: string): number {
  return Math.floor((base64.replace(/[=\s]/g, "").length * 3) / 4);
}

/** @param name suggested name of the saved file. */
function Media({ data, type, name = "data" }: { data: unknown; type: unknown; name?: string }) {
  const source = `data:${type};base64,${data}`;
  const size = sizeOf(String(data)).toLocaleString();
  if (!BASE64.test(String(data))) return <p class="block warn">This {String(type)} content is not valid base64.</p>;
  if (IMAGES.test(String(type))) {
    return (
      <figure class="block">
        <Picture source={source} type={String(type)} />
        <figcaption class="muted">
          {String(type)}, {size} bytes <Save data={String(data)} name={name} />
        </figcaption>
      </figure>
    );
  }
  if (SOUNDS.test(String(type))) {
    return (
      <figure class="block">
        <audio controls src={source} aria-label={`audio sent by the server, ${type}`} />
        <figcaption class="muted">
          {String(type)}, {size} bytes <Save data={String(data)} name={name} />
        </figcaption>
      </figure>
    );
  }
  return (
    <p class="block muted">
      {size} bytes of {String(type)}, which this page cannot display. <Save data={String(data)} name={name} />
    </p>
  );
}

/** Saved without a content type: the browser must not open what a server sends. */
function Save({ data, name }: { data: string; name: string }) {
  const [error, setError] = useState("");
  const save = (): void => {
    try {
      saveFile(name, Uint8Array.from(atob(data), (character) => character.charCodeAt(0)), "application/octet-stream");
    } catch {
      setError("The content is not valid base64.");
    }
  };
  return (
    <>
      <button type="button" class="quiet" onClick={save}>
        Save
      </button>
      {error && <span class="warn">{error}</span>}
    </>
  );
}

/** The last part of a URI, as the name of a file. */
function fileNameOf(uri: unknown): string {
  return /([^/?#\\]+)[/]*(?:[?#].*)?$/.exec(String(uri))?.[1] ?? "data";
}

/** A URI: a link if it is http(s), else text. */
export function Address({ uri }: { uri: string }) {
  return isWeb(uri) ? (
    <a href={uri} target="_blank" rel="noopener noreferrer">
      {uri}
    </a>
  ) : (
    <code class="uri">{uri}</code>
  );
}

function ResourceLink({ link }: { link: any }) {
  return (
    <div class="block">
      <strong>{String(link.title ?? link.name ?? "resource")}</strong> <Address uri={String(link.uri)} />
      {link.description && <p class="muted">{String(link.description)}</p>}
    </div>
  );
}

/** One of the contents of a resource. */
export function ResourceContents({ contents }: { contents: any }) {
  const type = String(contents?.mimeType ?? "");
  return (
    <div class="block">
      <p class="muted">
        <Address uri={String(contents?.uri)} /> {type}
      </p>
      {typeof contents?.text === "string" ? <TextBlock text={contents.text} {...(MARKDOWN.test(type) ? { markdown: true } : {})} name={fileNameOf(contents.uri)} /> : <Media data={contents?.blob ?? ""} type={type || "application/octet-stream"} name={fileNameOf(contents?.uri)} />}
    </div>
  );
}
