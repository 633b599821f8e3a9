// What the API tells of a service's past.

import type { Interval, MetricName } from './types'

export interface PastMetric {
  name: MetricName
  direction: 'minimize' | 'maximize'
  exposures: number
  observed: number
  belief: Interval | null
  lift: Interval | null
  probabilityBetter: number | null
}
export interface PastVersion {
  name: string
  baseline: boolean
  fate: 'promoted' | 'rolledBack' | 'notPromoted' | 'kept' | 'replaced'
  metrics: PastMetric[]
}
export interface Past {
  name: string
  id: string
  beganAt: number
  concludedAt: number
  deleted: boolean
  outcome: string
  baseline: string
  version: string
  changed: boolean
  changedElsewhere: boolean
  settledExposures: number
  versions: PastVersion[]
}
export interface Trend {
  service: string
  experiments: Past[]
}
