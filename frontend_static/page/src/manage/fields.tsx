/** Fields of an entry: texts, lists, and names with values. A hidden value stays hidden until the user replaces it. */

import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";
import { Icon } from "../ui/icons.js";
import { isHidden, type Hidden } from "./definitions.js";

type Value = string | Hidden;
/** Error messages by the key that the gateway names. */
export type Errors = ReadonlyMap<string, string>;

interface TextProps {
  label: string;
  value: Value;
  onInput: (value: string) => void;
  error?: string | undefined;
  placeholder?: string;
  help?: ComponentChildren;
  disabled?: boolean;
}

export function TextField({ label, value, onInput, error, placeholder, help, disabled }: TextProps) {
  const id = useId();
  return (
    <div class="field">
      <label for={id}>{label}</label>
      <ValueInput id={id} value={value} onInput={onInput} error={error} placeholder={placeholder} disabled={disabled} />
      {help && <p class="description muted">{help}</p>}
      <FieldError id={id} error={error} />
    </div>
  );
}

function FieldError({ id, error }: { id: string; error: string | undefined }) {
  return error === undefined ? null : (
    <p class="error bad" id={`${id}-error`}>
      {error}
    </p>
  );
}

interface InputProps {
  id?: string;
  label?: string;
  value: Value;
  onInput: (value: string) => void;
  error?: string | undefined;
  placeholder?: string | undefined;
  disabled?: boolean | undefined;
}

function ValueInput({ id, label, value, onInput, error, placeholder, disabled }: InputProps) {
  const hidden = isHidden(value);
  return (
    <input
      id={id}
      type="text"
      class="mono"
      aria-label={label}
      aria-invalid={error !== undefined}
      aria-describedby={error !== undefined && id !== undefined ? `${id}-error` : undefined}
      autocomplete="off"
      spellcheck={false}
      disabled={disabled}
      placeholder={hidden ? `${value.shown ?? "••••"} (unchanged; type to replace)` : placeholder}
      value={hidden ? "" : value}
      onInput={(event) => onInput(event.currentTarget.value)}
    />
  );
}

interface SeveralProps {
  label: string;
  /** Name of the member of the entry, as the gateway's errors name it. */
  name: string;
  errors: Errors;
  /** Label of the button that adds one. */
  add: string;
}

/** A list of texts, one field each. */
export function ListField({ label, name, values, onChange, errors, add }: SeveralProps & { values: readonly Value[]; onChange: (values: Value[]) => void }) {
  const id = useId();
  const replace = (index: number, text: string): void => onChange(values.map((old, at) => (at === index ? text : old)));
  return (
    <fieldset class="field plain">
      <legend>{label}</legend>
      {values.map((value, index) => {
        const error = errors.get(`${name}[${index}]`);
        const title = `${label}, ${index + 1}`;
        return (
          <div key={index}>
            <div class="row">
              <ValueInput id={`${id}-${index}`} label={title} value={value} error={error} onInput={(text) => replace(index, text)} />
              <Remove label={`Remove ${title}`} onClick={() => onChange(values.filter((_, at) => at !== index))} />
            </div>
            <FieldError id={`${id}-${index}`} error={error} />
          </div>
        );
      })}
      <FieldError id={id} error={errors.get(name)} />
      <button type="button" onClick={() => onChange([...values, ""])}>
        {add}
      </button>
    </fieldset>
  );
}

type Pair = readonly [name: string, value: Value];

interface PairsProps extends SeveralProps {
  pairs: readonly Pair[];
  onChange: (pairs: Pair[]) => void;
  /** Placeholder of a value. */
  example: string;
}

/** Names with values: environment variables, headers. */
export function PairsField({ label, name, pairs, onChange, errors, add, example }: PairsProps) {
  const id = useId();
  const replace = (index: number, pair: Pair): void => onChange(pairs.map((old, at) => (at === index ? pair : old)));
  return (
    <fieldset class="field plain">
      <legend>{label}</legend>
      {pairs.map(([key, value], index) => {
        const error = errors.get(`${name}.${key}`);
        return (
          <div key={index}>
            <div class="row">
              <input
                type="text"
                class="mono name"
                aria-label={`${label}, name ${index + 1}`}
                spellcheck={false}
                autocomplete="off"
                placeholder="NAME"
                value={key}
                onInput={(event) => replace(index, [event.currentTarget.value, value])}
              />
              <ValueInput
                id={`${id}-${index}`}
                label={`${label}, value of ${key || index + 1}`}
                value={value}
                placeholder={example}
                error={error}
                onInput={(text) => replace(index, [key, text])}
              />
              <Remove label={`Remove ${key || `pair ${index + 1}`}`} onClick={() => onChange(pairs.filter((_, at) => at !== index))} />
            </div>
            <FieldError id={`${id}-${index}`} error={error} />
          </div>
        );
      })}
      <FieldError id={id} error={errors.get(name)} />
      <button type="button" onClick={() => onChange([...pairs, ["", ""]])}>
        {add}
      </button>
    </fieldset>
  );
}

function Remove({ label, onClick }: { label: string; onClick: () => void }) {
  return (
    <button type="button" class="quiet" aria-label={label} title={label} onClick={onClick}>
      <Icon name="close" />
    </button>
  );
}
