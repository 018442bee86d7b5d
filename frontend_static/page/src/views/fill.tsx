/** Fields for the arguments of a prompt or the variables of a template, with the server's suggestions. */

import { useEffect, useId, useState } from "preact/hooks";
import { isObject, own } from "../form/schema.js";
import type { Connection } from "../mcp/connection.js";

export interface Blank {
  readonly name: string;
  readonly description?: string | undefined;
  readonly required: boolean;
}

interface Props {
  blanks: readonly Blank[];
  values: Readonly<Record<string, string>>;
  setValues: (values: Record<string, string>) => void;
  complete: (name: string, value: string) => Promise<readonly string[]>;
  /** Names of the required fields that are empty. */
  missing: ReadonlySet<string>;
}

type Texts = Record<string, string>;

/** Key of the draft of a prompt or template among the drafts of a connection, which tools use as well. */
export function draftKey(kind: "prompt" | "template", name: string): string {
  return JSON.stringify([kind, name]);
}

/** The texts typed so far for a draft, kept with the connection, and how to set them. */
export function useTexts(connection: Connection, key: string): [Texts, (values: Texts) => void] {
  const [values, setValues] = useState<Texts>(() => textsIn(connection.drafts.get(key)?.value));
  const set = (next: Texts): void => {
    connection.drafts.set(key, { value: next, text: undefined });
    setValues(next);
  };
  return [values, set];
}

/** The members of a value that are texts. */
export function textsIn(value: unknown): Texts {
  const members = Object.entries(isObject(value) ? value : {});
  return Object.fromEntries(members.filter(([, text]) => typeof text === "string"));
}

export function Fill({ blanks, values, setValues, complete, missing }: Props) {
  return (
    <>
      {blanks.map((blank) => (
        <OneBlank key={blank.name} blank={blank} value={own(values, blank.name) ?? ""} set={(value) => setValues({ ...values, [blank.name]: value })} complete={complete} missing={missing.has(blank.name)} />
      ))}
    </>
  );
}

/** Milliseconds without typing after which suggestions are requested. */
const PAUSE = 150;

interface OneBlankProps {
  blank: Blank;
  value: string;
  set: (value: string) => void;
  complete: Props["complete"];
  missing: boolean;
}

function OneBlank({ blank, value, set, complete, missing }: OneBlankProps) {
  const id = useId();
  const [offers, setOffers] = useState<readonly string[]>([]);
  const [asking, setAsking] = useState(false);
  useEffect(() => {
    if (!asking) return undefined;
    let current = true;
    const timer = setTimeout(() => void complete(blank.name, value).then((found) => current && setOffers(found)), PAUSE);
    return () => {
      current = false;
      clearTimeout(timer);
    };
  }, [value, asking]);
  return (
    <div class={`field ${missing ? "wrong" : ""}`}>
      <div class="row label">
        <label for={id}>
          {blank.name}
          {blank.required && <span class="required" aria-hidden="true">*</span>}
        </label>
      </div>
      {blank.description && <p class="muted description" id={`${id}-hint`}>{blank.description}</p>}
      <input
        id={id}
        type="text"
        autocomplete="off"
        list={offers.length > 0 ? `${id}-offers` : undefined}
        aria-required={blank.required}
        aria-invalid={missing}
        aria-describedby={blank.description ? `${id}-hint` : undefined}
        value={value}
        onFocus={() => setAsking(true)}
        onBlur={() => setAsking(false)}
        onInput={(event) => set(event.currentTarget.value)}
      />
      <datalist id={`${id}-offers`}>
        {offers.map((offer) => (
          <option key={offer} value={offer} />
        ))}
      </datalist>
      {missing && <p class="bad error">is required</p>}
    </div>
  );
}
