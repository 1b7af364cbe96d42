/** Reading data of other people's making: nothing is assumed to be there. */

import type { Json, JsonObject } from "./wire.ts";

export type { Json, JsonObject };

/** Return a string as it is, a number or boolean as text, anything else as "". */
export function text(value: Json | undefined): string {
  if (typeof value === "string") return value;
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return "";
}

export function count(value: Json | undefined): number {
  return typeof value === "number" && Number.isFinite(value) ? value : 0;
}

/** Return the objects in a list, or none. */
export function rows(value: Json | undefined): JsonObject[] {
  return Array.isArray(value) ? value.filter(isObject) : [];
}

/** Return the strings in a list, or none. */
export function texts(value: Json | undefined): string[] {
  return Array.isArray(value) ? value.filter((v) => typeof v === "string") : [];
}

/** Return the entries of an object of objects, or none. */
export function table(value: Json | undefined): [string, JsonObject][] {
  if (!isObject(value)) return [];
  return Object.entries(value).filter((pair): pair is [string, JsonObject] =>
    isObject(pair[1]),
  );
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
