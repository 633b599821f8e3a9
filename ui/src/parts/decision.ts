// What every decision of a person is made of.

import { list, weight } from '../format'
import type { Experiment } from '../types'
import { versionName } from './common'
import type { Action } from './confirm'

export type Open = (action: Wanted) => void
/** What a decision needs: the experiment, a way to ask again, and one to do it. */
export interface Part {
  experiment: Experiment
  open: Open
  order: (command: object) => (reason: string, key: string) => Promise<void>
}
/** What a part of the page asks for: the page itself knows where to look when it does not work. */
export type Wanted = Omit<Action, 'look'>

/** Weights in words. */
export const shares = (experiment: Experiment, weights: number[]): string =>
  list(weights.map((share, at) => `${versionName(experiment, at)} ${weight(share)}`))
