// Weights that always sum to the whole: when one moves, the others share what is left as they did before.

export const WHOLE = 10_000

/** The weights after one was set to `value`; versions that are `fixed` keep theirs. All in basis points. */
export function rebalance(weights: number[], moved: number, value: number, fixed: boolean[]): number[] {
  const free = weights.map((_, at) => at !== moved && !fixed[at])
  const kept = weights.reduce((sum, weight, at) => (at !== moved && !free[at] ? sum + weight : sum), 0)
  const room = WHOLE - kept
  // Without another that may give or take, this one has all there is.
  const own = free.includes(true) ? Math.round(Math.min(room, Math.max(0, value))) : room
  const left = room - own
  const before = weights.reduce((sum, weight, at) => (free[at] ? sum + weight : sum), 0)
  const shares = weights.map((weight, at) => {
    if (at === moved) return own
    if (!free[at]) return weight
    return before > 0 ? (weight / before) * left : left / free.filter(Boolean).length
  })
  // The largest remainders get what rounding left over.
  const floors = shares.map(Math.floor)
  const order = shares
    .map((share, at) => ({ at, rest: share - Math.floor(share) }))
    .filter(({ at }) => free[at])
    .sort((a, b) => b.rest - a.rest || a.at - b.at)
  let missing = WHOLE - floors.reduce((sum, floor) => sum + floor, 0)
  for (const { at } of order) {
    if (missing <= 0) break
    floors[at] = (floors[at] ?? 0) + 1
    missing -= 1
  }
  return floors
}
