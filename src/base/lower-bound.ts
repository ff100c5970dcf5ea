/**
 * The first index in a sorted sequence whose item is not before the wanted one; `high` if all items are before it.
 *
 * `isBefore` says whether the item at an index is before it. It must be true up to some index, and false from there on.
 */
export function lowerBound(low: number, high: number, isBefore: (index: number) => boolean): number {
  let [from, to] = [low, high]
  while (from < to) {
    const middle = (from + to) >>> 1
    if (isBefore(middle)) from = middle + 1
    else to = middle
  }
  return from
}
