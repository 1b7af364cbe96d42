/** Things a page has once, however many views use them. */

export interface Lease<T> {
  value: T;
  release(): void;
}

interface Held {
  value: unknown;
  users: number;
}

const held = new Map<string, Held>();

/** Use what *key* names, made by the first user and ended with the last. */
export function acquire<T>(
  key: string,
  make: () => T,
  end: (value: T) => void,
): Lease<T> {
  const entry: Held = held.get(key) ?? { value: make(), users: 0 };
  held.set(key, entry);
  entry.users += 1;
  let isReleased = false;
  return {
    value: entry.value as T,
    release() {
      if (isReleased) return;
      isReleased = true;
      entry.users -= 1;
      if (entry.users > 0) return;
      held.delete(key);
      end(entry.value as T);
    },
  };
}
