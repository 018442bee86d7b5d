/** What a server asks the user in between: a form, an address to visit, an answer of a model. */

import { signal, type Signal } from "@preact/signals";

export type QuestionKind = "form" | "url" | "sampling";

export interface Question {
  readonly number: number;
  readonly kind: QuestionKind;
  readonly params: any;
  /** Give the answer; the question is gone afterwards. */
  readonly answer: (result: any) => void;
  /** Refuse with an error. */
  readonly refuse: (words: string) => void;
}

let count = 0;

/** The open questions of one server. */
export class Questions {
  readonly open: Signal<readonly Question[]> = signal([]);

  /** Ask the user; rejected where the server, or the user, gives up. */
  ask(kind: QuestionKind, params: any, given: AbortSignal): Promise<any> {
    count += 1;
    const number = count;
    return new Promise((resolve, reject) => {
      const gone = (): void => {
        this.open.value = this.open.peek().filter((question) => question.number !== number);
      };
      const refuse = (words: string): void => {
        gone();
        reject(Object.assign(new Error(words), { code: -1 }));
      };
      const answer = (result: any): void => {
        gone();
        resolve(result);
      };
      given.addEventListener("abort", () => refuse("it is not waited for any more"));
      if (!given.aborted) this.open.value = [...this.open.peek(), { number, kind, params, answer, refuse }];
    });
  }

  clear(): void {
    for (const { refuse } of this.open.peek()) refuse("the connection has ended");
  }
}
