// Numbers and times as people read them.

import type { Assessment, Interval, Metric, MetricName } from './types'

const whole = new Intl.NumberFormat('en')
export const count = (n: number): string => whole.format(Math.round(n))

/** A fraction as a percentage, with as many digits as say something. */
export function percent(fraction: number): string {
  const value = fraction * 100
  if (value === 0 || value === 100) return `${value}%`
  const size = Math.min(Math.abs(value), Math.abs(100 - value) || 100)
  return `${value.toFixed(size >= 10 ? 1 : size >= 0.1 ? 2 : 3)}%`
}

/** The same on an axis: no more digits than tell ticks apart. */
export const tick = (name: MetricName, at: number): string =>
  name === 'errorRate' || name === 'rewardRate' ? `${Number((at * 100).toPrecision(4))}%` : measured(name, at)

/** Basis points as a percentage, exactly. */
export const weight = (basisPoints: number): string => `${Number((basisPoints / 100).toFixed(2))}%`

export function milliseconds(ms: number): string {
  if (ms >= 10_000) return `${(ms / 1_000).toFixed(0)} s`
  if (ms >= 1_000) return `${Number((ms / 1_000).toFixed(2))} s`
  return `${ms >= 100 ? ms.toFixed(0) : Number(ms.toPrecision(2))} ms`
}

export const number = (x: number): string => (Math.abs(x) >= 1_000 ? count(x) : String(Number(x.toPrecision(3))))

/** A stretch of time, its two largest units, named as the API's sentences name them. */
export function stretch(ms: number): string {
  const s = Math.max(0, Math.round(ms / 1_000))
  const [d, h, m] = [Math.floor(s / 86_400), Math.floor(s / 3_600) % 24, Math.floor(s / 60) % 60]
  if (d) return h ? `${d} d ${h} h` : `${d} d`
  if (h) return m ? `${h} h ${m} m` : `${h} h`
  if (m) return s % 60 ? `${m} m ${s % 60} s` : `${m} m`
  return `${s} s`
}

/** A stretch of time that is foreseen: roughly, as the API's sentence beside it says it. */
export function roughly(ms: number): string {
  const minutes = Math.ceil(ms / 60_000)
  if (minutes <= 1) return 'a minute'
  if (minutes < 120) return `${minutes} minutes`
  if (minutes < 2_880) return `${Math.floor((minutes + 30) / 60)} hours`
  return `${Math.floor((minutes + 720) / 1_440)} days`
}

export const ago = (at: number): string => `${stretch(Date.now() - at)} ago`

const clockFormat = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' })
export const clock = (at: number): string => clockFormat.format(at)

/** An e-value by its natural logarithm. */
export function eValue(logE: number): string {
  if (logE > Math.log(10_000)) return 'over 10,000'
  if (logE < Math.log(0.01)) return 'under 0.01'
  const e = Math.exp(logE)
  return e >= 100 ? count(e) : String(Number(e.toPrecision(3)))
}

export const METRICS: Record<MetricName, string> = {
  errorRate: 'Error rate',
  latencyMean: 'Mean latency',
  latencyP50: 'Median latency',
  latencyP99: '99th percentile of latency',
  rewardRate: 'Reward rate',
  rewardMean: 'Mean reward',
}

/** A value of a metric. */
export function measured(name: MetricName, value: number): string {
  if (name === 'errorRate' || name === 'rewardRate') return percent(value)
  return name === 'rewardMean' ? number(value) : milliseconds(value)
}

export function interval(name: MetricName, of: Interval | null): string {
  if (!of) return ''
  const end = (x: number | undefined): string => (x === undefined ? '∞' : measured(name, x))
  return `${of.low === undefined ? '0' : end(of.low)} to ${end(of.high)}`
}

export const observed = (metric: Metric): string =>
  `${metric.observedOrMore ? '≥ ' : ''}${measured(metric.name, metric.observed)}`

/** A belief of who is best; none before anything has settled, when it would be what was believed of nobody, nor of who is out. */
export function best(assessment: Assessment | null, at: number): number | null {
  const version = assessment?.versions[at]
  if (!version || version.out || assessment.settledExposures === 0) return null
  return version.probabilityBestAndFeasible
}

/** A probability: never 0 or 1, for a belief is never certain. */
export function probability(p: number | null | undefined): string {
  if (p === null || p === undefined) return '–'
  if (p < 0.001) return '<\u00a00.1%'
  if (p > 0.999) return '>\u00a099.9%'
  return percent(p)
}

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1)
export const list = (items: string[]): string =>
  items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} and ${items.at(-1)}`
