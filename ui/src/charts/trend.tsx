// A metric of a service from experiment to experiment: each version's value with its interval, change points marked.

import { extent } from 'd3-array'
import { scaleLinear, scalePoint } from 'd3-scale'
import { symbol, symbolCircle, symbolDiamond, symbolTriangle, symbolX } from 'd3-shape'
import type { JSX } from 'preact'
import { AxisLeft, Figure, MARGIN } from './plot'
import { METRICS, clock, interval, measured, tick } from '../format'
import { fateWord } from '../parts/fate'
import type { Past, PastVersion } from '../trendtypes'
import type { MetricName } from '../types'

const SHAPES: Record<PastVersion['fate'], [typeof symbolCircle, string]> = {
  kept: [symbolCircle, 'kept'],
  promoted: [symbolTriangle, 'good'],
  replaced: [symbolCircle, 'replaced'],
  rolledBack: [symbolX, 'bad'],
  notPromoted: [symbolDiamond, 'not'],
}

export function TrendChart({ metric, past }: { metric: MetricName; past: Past[] }): JSX.Element | null {
  const marks = past.flatMap((experiment, column) =>
    experiment.versions.flatMap((version, at) => {
      const found = version.metrics.find(({ name }) => name === metric)
      return found ? [{ column, experiment, version, found, at }] : []
    }),
  )
  if (marks.length === 0) return null
  const changes = past.filter(({ changed }) => changed)
  const serving = marks.filter(({ experiment, version }) => version.name === experiment.version)
  const [first, last] = [serving[0], serving.at(-1)]
  const direction = marks[0]?.found.direction
  const says = `${direction === 'maximize' ? 'More is better.' : 'Less is better.'} ${
    first && last && first !== last
      ? `Of what served afterwards: ${measured(metric, first.found.observed)} with ${first.version.name}, ${measured(metric, last.found.observed)} with ${last.version.name}.`
      : ''
  } ${changes.length} change${changes.length === 1 ? '' : 's'} of what serves.`
  return (
    <Figure
      title={METRICS[metric]}
      says={says}
      height={230}
      legend={<Key />}
      columns={[
        'Experiment',
        'Concluded',
        'Version',
        'What became of it',
        'Observed',
        '95% likely within',
        'Against its baseline',
      ]}
      rows={marks.map(({ experiment, version, found }) => [
        experiment.name,
        clock(experiment.concludedAt),
        version.name,
        fateWord(version.fate),
        measured(metric, found.observed),
        interval(metric, found.belief),
        found.lift ? `${signed(found.lift.low)} to ${signed(found.lift.high)}` : '',
      ])}
    >
      {(width, height) => {
        const x = scalePoint(
          past.map(({ id }) => id),
          [MARGIN.left, width - MARGIN.right],
        ).padding(0.5)
        const values = marks.flatMap(({ found }) => [
          found.observed,
          found.belief?.low ?? found.observed,
          found.belief?.high ?? found.observed,
        ])
        const [low = 0, high = 1] = extent(values) as [number, number]
        const y = scaleLinear(
          [low === high ? low * 0.9 : low, low === high ? high * 1.1 + 1e-9 : high],
          [height - MARGIN.bottom, MARGIN.top + 8],
        ).nice(5)
        const step = x.step() || width
        return (
          <>
            <AxisLeft width={width} ticks={y.ticks(5).map((at) => ({ at: y(at), text: tick(metric, at) }))} />
            {past.map((experiment) => {
              const at = x(experiment.id) ?? 0
              return (
                <g key={experiment.id} class="axis">
                  {experiment.changed && (
                    <line class="change" x1={at} x2={at} y1={MARGIN.top - 6} y2={height - MARGIN.bottom} />
                  )}
                  {experiment.changed && (
                    <text class="label" x={at} y={MARGIN.top - 1} text-anchor="middle">
                      {experiment.baseline} → {experiment.version}
                    </text>
                  )}
                  <text x={at} y={height - MARGIN.bottom + 16} text-anchor="middle">
                    {experiment.name.slice(0, Math.max(3, Math.floor(step / 7.5)))}
                  </text>
                </g>
              )
            })}
            {marks.map(({ experiment, version, found, at }) => {
              const offset =
                (at - (experiment.versions.length - 1) / 2) * Math.min(18, step / (experiment.versions.length + 1))
              const [shape, kind] = SHAPES[version.fate]
              const px = (x(experiment.id) ?? 0) + offset
              return (
                <g key={`${experiment.id}${version.name}`} class={`mark ${kind}`}>
                  <title>{`${experiment.name}: ${version.name}, ${fateWord(version.fate)}: ${measured(metric, found.observed)}`}</title>
                  {found.belief && (
                    <line x1={px} x2={px} y1={y(found.belief.low ?? low)} y2={y(found.belief.high ?? high)} />
                  )}
                  <path transform={`translate(${px},${y(found.observed)})`} d={symbol(shape, 70)() ?? ''} />
                </g>
              )
            })}
          </>
        )
      }}
    </Figure>
  )
}

export const signed = (fraction: number | undefined): string =>
  fraction === undefined
    ? '∞'
    : `${fraction > 0 ? '+' : fraction < 0 ? '−' : ''}${(Math.abs(fraction) * 100).toFixed(1)}%`

function Key(): JSX.Element {
  return (
    <ul class="legend">
      {(Object.keys(SHAPES) as PastVersion['fate'][]).map((fate) => {
        const [shape, kind] = SHAPES[fate]
        return (
          <li key={fate}>
            <svg width="16" height="14" aria-hidden="true">
              <g class={`mark ${kind}`}>
                <path transform="translate(8,7)" d={symbol(shape, 60)() ?? ''} />
              </g>
            </svg>
            {fateWord(fate)}
          </li>
        )
      })}
    </ul>
  )
}
