// What a role does not allow, in words.

import type { Whoami } from '../types'

/** Why nothing can be changed with this token, in words; none if it can be, or if it is not known whether. */
export function whyNot(who: Whoami | null): string | null {
  if (!who?.role || who.role === 'operator') return null
  const whose = who.name && who.name !== who.role ? `The token of ${who.name}` : 'This token'
  return `${whose} has the role ${who.role}: it looks, and changes nothing. To decide takes the role operator: “Forget token” above, then enter such a one.`
}
