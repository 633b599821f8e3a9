// Weights over time: an area per version, one on the other, constant within an epoch.

import { colour } from '../parts/common'
import { scaleLinear } from 'd3-scale'
import { area, curveStepAfter, line, stack } from 'd3-shape'
import type { JSX } from 'preact'
import { AxisBottom, AxisLeft, Figure, Legend, MARGIN } from './plot'
import { list, stretch, weight } from '../format'

export interface WeightPoint {
  at: number
  weights: number[]
}

/** `at` of points in milliseconds since the beginning; the last reaches to `until`. */
export function WeightsChart({
  names,
  points,
  until,
  title = 'Weights over time',
  end,
}: {
  names: string[]
  points: WeightPoint[]
  until: number
  title?: string
  end?: string
}): JSX.Element {
  const last = points.at(-1)
  const says = last
    ? `${end ?? 'Now'}: ${list(names.map((name, at) => `${name} ${weight(last.weights[at] ?? 0)}`))}, after ${points.length - 1} change${points.length === 2 ? '' : 's'}${points.length > 1 ? `, the last ${stretch(last.at)} after it began` : ''}.`
    : 'Nothing yet.'
  const rows = points.map(({ at, weights }) => [stretch(at), ...weights.map(weight)])
  return (
    <Figure title={title} says={says} legend={<Legend names={names} />} columns={['After', ...names]} rows={rows}>
      {(width, height) => {
        const x = scaleLinear([0, Math.max(until, 1)], [MARGIN.left, width - MARGIN.right])
        const y = scaleLinear([0, 10_000], [height - MARGIN.bottom, MARGIN.top])
        const closed = last ? [...points, { ...last, at: Math.max(until, last.at) }] : []
        const layers = stack<WeightPoint, number>()
          .keys(names.map((_, at) => at))
          .value((point, at) => point.weights[at] ?? 0)(closed)
        type Layer = (typeof layers)[number][number]
        const shape = area<Layer>()
          .x((d) => x(d.data.at))
          .y0((d) => y(d[0]))
          .y1((d) => y(d[1]))
          .curve(curveStepAfter)
        const edge = line<Layer>()
          .x((d) => x(d.data.at))
          .y((d) => y(d[1]))
          .curve(curveStepAfter)
        const middle = width > 460 ? 6 : 3
        return (
          <>
            <AxisLeft
              width={width}
              ticks={[0, 2_500, 5_000, 7_500, 10_000].map((at) => ({ at: y(at), text: weight(at) }))}
            />
            {layers.map((layer, at) => (
              <g key={names[at]}>
                <path class={`area ${colour(at)}`} d={shape(layer) ?? ''} />
                <path class={`line ${colour(at)}`} d={edge(layer) ?? ''} />
              </g>
            ))}
            <AxisBottom
              width={width}
              y={height - MARGIN.bottom}
              title="time since it began"
              ticks={timeTicks(until, middle).map((at) => ({ at: x(at), text: stretch(at) }))}
            />
          </>
        )
      }}
    </Figure>
  )
}

const STEPS = [
  1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800,
  1_209_600,
].map((s) => s * 1_000)

/** Times that people name, at most so many. */
export function timeTicks(until: number, most: number): number[] {
  const step = STEPS.find((step) => until / step <= most) ?? 30 * 86_400_000
  return Array.from({ length: Math.floor(until / step) + 1 }, (_, at) => at * step)
}
