/** Texts that somebody else wrote, shown so that nothing in them is invisible or changes the order of what is read. */

/** What is not seen: control, format and unassigned characters, lone surrogates, separators and spaces but the usual one, and ignorable ones. */
const UNSEEN = /[\p{C}\p{Z}\p{Default_Ignorable_Code_Point}\u2800]/u;

export interface Piece {
  readonly text: string;
  /** Whether it stands for something that is not seen. */
  readonly escaped: boolean;
}

/** A text in pieces; what is not seen is written as in JSON. A text that begins or ends with space, or is empty, is put in quotes. */
export function pieces(text: string): readonly Piece[] {
  const found: Piece[] = [];
  const add = (piece: string, escaped: boolean): void => {
    const last = found.at(-1);
    if (last?.escaped === escaped) found[found.length - 1] = { text: last.text + piece, escaped };
    else found.push({ text: piece, escaped });
  };
  const quoted = text.trim() !== text || text === "";
  if (quoted) add('"', true);
  for (const character of text) {
    const unseen = character !== " " && UNSEEN.test(character);
    add(unseen ? escape(character) : character, unseen);
  }
  if (quoted) add('"', true);
  return found;
}

function escape(character: string): string {
  const short: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  const code = character.codePointAt(0) ?? 0;
  return short[character] ?? (code > 0xffff ? `\\u{${code.toString(16)}}` : `\\u${code.toString(16).padStart(4, "0")}`);
}

/** A text in a line of its own direction, each character in the order in which it is written. */
export function Visible({ text }: { text: string }) {
  return (
    <code class="visible" dir="ltr">
      {pieces(text).map(({ text: piece, escaped }, index) => (escaped ? <mark key={index}>{piece}</mark> : piece))}
    </code>
  );
}
