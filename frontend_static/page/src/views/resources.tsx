/** The resources and resource templates of a server. */

import { UriTemplate, type Resource, type ResourceTemplateType } from "@modelcontextprotocol/client";
import { useEffect, useState } from "preact/hooks";
import { own } from "../form/schema.js";
import { useKeys } from "../keys.js";
import type { Connection } from "../mcp/connection.js";
import { textOf } from "../mcp/lenient.js";
import { go, href } from "../route.js";
import { Choose } from "../ui/choose.js";
import { Address } from "../ui/content.js";
import { Guard } from "../ui/guard.js";
import { Badge, Clamped, Empty } from "../ui/parts.js";
import { Work } from "./work.js";
import { draftKey, Fill, useTexts } from "./fill.js";
import { others } from "./prompts.js";

/** Marks a template in a route. */
const TEMPLATE = "template:";

export function Resources({ connection, chosen }: { connection: Connection; chosen: string | undefined }) {
  const { items, error } = connection.lists.resources.value;
  const templates = connection.lists.templates.value;
  const place = (key: string): string => href(["server", connection.name, "resources", key]);
  const listed = items && [
    ...items.map(({ uri, name, title, description }) => ({ key: uri, title: textOf(title) || textOf(name) || uri, description: textOf(description) || uri, href: place(uri) })),
    ...(templates.items ?? []).map(({ uriTemplate, name, title, description }) => ({
      key: TEMPLATE + uriTemplate,
      title: `${textOf(title) || textOf(name)} …`,
      description: textOf(description) || uriTemplate,
      href: place(TEMPLATE + uriTemplate),
    })),
  ];
  const template = templates.items?.find(({ uriTemplate }) => TEMPLATE + uriTemplate === chosen);
  const resource = items?.find(({ uri }) => uri === chosen);
  return (
    <Choose label="resources" items={listed} error={error || templates.error} loading={connection.state.value.kind !== "closed"} chosen={chosen} back={href(["server", connection.name, "resources"])}>
      {template && (
        <Guard key={chosen} what="this template">
          <TemplateDetail template={template} connection={connection} />
        </Guard>
      )}
      {!template && chosen !== undefined && items !== undefined && (
        <Guard key={chosen} what="this resource">
          <ResourceDetail uri={chosen} resource={resource} connection={connection} />
        </Guard>
      )}
      {chosen === undefined && <Empty>Select a resource.</Empty>}
    </Choose>
  );
}

/** @param resource its entry in the list; undefined for a resource of a template. */
function ResourceDetail({ uri, resource, connection }: { uri: string; resource: Resource | undefined; connection: Connection }) {
  const updates = connection.subscriptions.watched.value.get(uri);
  const read = (): void => void connection.calls.start("resource", uri, {});
  useKeys(() => [{ key: "Ctrl+Enter", label: "read the resource", typing: true, run: read }]);
  useEffect(() => {
    if (updates !== undefined && updates > 0) read();
  }, [updates]);
  const subscribes = connection.info.value?.capabilities["resources"]?.subscribe === true;
  return (
    <Work connection={connection} kind="resource" name={uri}>
      <header class="detail-head">
        <div class="row wrap">
          <h2>{textOf(resource?.title) || textOf(resource?.name) || "Resource"}</h2>
          {resource?.mimeType && <Badge>{resource.mimeType}</Badge>}
          {resource?.size !== undefined && <Badge>{resource.size.toLocaleString()} bytes</Badge>}
        </div>
        <p>
          <Address uri={uri} />
        </p>
        {resource?.description && <Clamped text={resource.description} />}
      </header>
      <div class="row wrap">
        <button type="button" class="primary" onClick={read}>
          Read
        </button>
        <button type="button" aria-pressed={updates !== undefined} disabled={!subscribes} onClick={() => void connection.subscriptions.watch(uri, updates === undefined)}>
          {updates === undefined ? "Watch" : "Stop watching"}
        </button>
        {updates !== undefined && <span class="muted" data-updates={updates}>{updates === 1 ? "1 update" : `${updates} updates`}, each read automatically</span>}
        {!subscribes && <span class="muted">The server does not announce changes to individual resources.</span>}
      </div>
    </Work>
  );
}

function variablesOf(template: string): readonly string[] {
  try {
    return new UriTemplate(template).variableNames;
  } catch {
    return [];
  }
}

/** Expressions that expand to nothing without their variables, including their prefix (RFC 6570 section 3.2). */
const OPTIONAL = /\{[?&#./]([^}]*)\}/g;

/** Variables without which a template expands to an incomplete URI. */
function requiredOf(template: string): ReadonlySet<string> {
  return new Set(variablesOf(template.replace(OPTIONAL, "")));
}

function TemplateDetail({ template, connection }: { template: ResourceTemplateType; connection: Connection }) {
  const [values, setValues] = useTexts(connection, draftKey("template", template.uriTemplate));
  const [missing, setMissing] = useState<ReadonlySet<string>>(new Set());
  const names = [...new Set(variablesOf(template.uriTemplate))];
  const required = requiredOf(template.uriTemplate);
  const show = (): void => {
    const unset = new Set(names.filter((name) => required.has(name) && !own(values, name)));
    setMissing(unset);
    if (unset.size > 0) return;
    const uri = new UriTemplate(template.uriTemplate).expand(Object.fromEntries(names.map((name) => [name, own(values, name)]).filter(([, value]) => value)));
    go(["server", connection.name, "resources", uri]);
    connection.calls.start("resource", uri, {});
  };
  useKeys(() => [{ key: "Ctrl+Enter", label: "read the resource", typing: true, run: show }], [values]);
  return (
    <>
      <header class="detail-head">
        <h2>{textOf(template.title) || textOf(template.name)}</h2>
        <p>
          <code class="uri">{template.uriTemplate}</code>
        </p>
        {template.description && <Clamped text={template.description} />}
      </header>
      <form class="arguments-form stack" noValidate onSubmit={(event) => (event.preventDefault(), show())}>
        <Fill
          blanks={names.map((name) => ({ name, required: required.has(name) }))}
          values={values}
          setValues={setValues}
          missing={missing}
          complete={(name, value) => connection.complete({ type: "ref/resource", uri: template.uriTemplate }, name, value, others(values, name))}
        />
        <div class="row submit">
          <button type="submit" class="primary">
            Read
          </button>
        </div>
      </form>
    </>
  );
}
