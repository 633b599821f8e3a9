// Who one is to the controller, so that nobody is offered what would be refused. The controller refuses it all the same.

import { useEffect, useState } from 'preact/hooks'
import { paths, read, token } from '../api'
import type { Whoami } from '../types'
import { whyNot } from './role'

/** Why nothing can be changed with the token that this tab has; none if it can be, or if that is not known, asked anew when that changes. */
export function useWhyNot(): string | null {
  const [who, setWho] = useState<Whoami | null>(null)
  useEffect(() => {
    let round = 0
    const ask = async (): Promise<void> => {
      round += 1
      const mine = round
      const told = await read<Whoami>(paths.whoami).catch(() => null)
      if (mine === round) setWho(told)
    }
    void ask()
    const forget = token.on(() => void ask())
    return () => {
      round += 1
      forget()
    }
  }, [])
  return whyNot(who)
}
