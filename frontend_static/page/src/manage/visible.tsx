/** Untrusted texts, rendered so that no character is invisible or changes the reading order. */

/** Invisible characters: control, format, unassigned and ignorable ones, lone surrogates, separators, and spaces other than U+0020. */
const INVISIBLE = /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/u;

export interface Piece {
  readonly text: string;
  /** Whether it is an escape of an invisible character. */
  readonly escaped: boolean;
}

/** Split a text into pieces, with invisible characters escaped as in JSON. An empty text, or one with space at either end, is quoted. */
export function pieces(text: string): readonly Piece[] {
  const result: Piece[] = [];
  const add = (piece: string, escaped: boolean): void => {
    const last = result.at(-1);
    if (last?.escaped === escaped) result[result.length - 1] = { text: last.text + piece, escaped };
    else result.push({ text: piece, escaped });
  };
  const quoted = text.trim() !== text || text === "";
  if (quoted) add('"', true);
  for (const character of text) {
    const invisible = character !== " " && INVISIBLE.test(character);
    add(invisible ? escape(character) : character, invisible);
  }
  if (quoted) add('"', true);
  return result;
}

function escape(character: string): string {
  const short: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  const code = character.codePointAt(0) ?? 0;
  return short[character] ?? (code > 0xffff ? `\\u{${code.toString(16)}}` : `\\u${code.toString(16).padStart(4, "0")}`);
}

/** Render an untrusted text left to right, each character in the order in which it is stored. */
export function Visible({ text }: { text: string }) {
  return (
    <code class="visible" dir="ltr">
      {pieces(text).map(({ text: piece, escaped }, index) => (escaped ? <mark key={index}>{piece}</mark> : piece))}
    </code>
  );
}
