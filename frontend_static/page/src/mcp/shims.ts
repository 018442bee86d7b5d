/** What the SDK takes from `_shims`, with the validator that the page has anyway instead of a second copy of it. */

import { Validator, type Schema } from "@cfworker/json-schema";

export const CORS_IS_POSSIBLE = true;

export class DefaultJsonSchemaValidator {
  getValidator<T>(schema: unknown): (input: unknown) => { valid: true; data: T; errorMessage: undefined } | { valid: false; data: undefined; errorMessage: string } {
    const validator = new Validator(schema as Schema, "2020-12");
    return (input) => {
      const { valid, errors } = validator.validate(input);
      if (valid) return { valid: true, data: input as T, errorMessage: undefined };
      const words = errors.map(({ instanceLocation, error }) => `${instanceLocation}: ${error}`);
      return { valid: false, data: undefined, errorMessage: words.join("; ") };
    };
  }
}
