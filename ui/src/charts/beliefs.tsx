// What is believed of a metric: a density per version. And the latencies that were counted, on a logarithmic scale.

import { colour } from '../parts/common'
import { extent, max } from 'd3-array'
import { scaleLinear, scaleLog } from 'd3-scale'
import { area, curveBasis, curveStepAfter, line } from 'd3-shape'
import type { JSX } from 'preact'
import { AxisBottom, Figure, Legend, MARGIN } from './plot'
import { METRICS, count, interval, list, milliseconds, observed, tick } from '../format'
import type { Distributions, Experiment, MetricName } from '../types'

const NARROW = { ...MARGIN, left: 14 }

export function BeliefChart({
  metric,
  experiment,
  curves,
}: {
  metric: MetricName
  experiment: Experiment
  curves: Distributions
}): JSX.Element | null {
  const names = experiment.weights.map(({ version }) => version)
  const lines = curves.versions.map(
    (version) => version.beliefs.find((belief) => belief.metric === metric)?.points ?? [],
  )
  if (!lines.some((points) => points.length)) return null
  const assessed = experiment.assessment?.versions ?? []
  const of = (version: number) => assessed[version]?.metrics.find(({ name }) => name === metric)
  const direction = assessed.flatMap((version) => version.metrics).find(({ name }) => name === metric)?.direction
  const rows = names.map((name, at) => {
    const found = of(at)
    return [
      name,
      found ? observed(found) : 'not measured',
      found ? interval(metric, found.belief) : '',
      found ? count(found.exposures) : '0',
    ]
  })
  const said = names.flatMap((name, at) => {
    const found = of(at)
    return found?.belief ? [`${name} ${interval(metric, found.belief)}`] : []
  })
  const says = `${direction === 'maximize' ? 'More is better.' : 'Less is better.'} 95% likely within: ${list(said)}.`
  return (
    <Figure
      title={METRICS[metric]}
      says={says}
      height={190}
      legend={<Legend names={names} shown={lines.map((points) => points.length > 0)} />}
      columns={['Version', 'Observed', '95% likely within', 'Exposures']}
      rows={rows}
    >
      {(width, height) => {
        const all = lines.flat()
        const [low = 0, high = 1] = extent(all, ([x]) => x) as [number, number]
        const x = scaleLinear([low, high], [NARROW.left, width - NARROW.right])
        // Each curve has the same height: what is compared is where it lies and how wide it is, and one that is sure would hide the rest.
        const base = height - NARROW.bottom
        const ticks = x.ticks(width > 420 ? 6 : 4)
        return (
          <>
            {lines.map((points, at) => {
              const top = max(points, ([, density]) => density) ?? 1
              const y = scaleLinear([0, top], [base, NARROW.top])
              const fill = area<[number, number]>()
                .x(([value]) => x(value))
                .y0(base)
                .y1(([, density]) => y(density))
                .curve(curveBasis)
              const edge = line<[number, number]>()
                .x(([value]) => x(value))
                .y(([, density]) => y(density))
                .curve(curveBasis)
              return (
                points.length > 0 && (
                  <g key={names[at]}>
                    <path class={`area faint ${colour(at)}`} d={fill(points) ?? ''} />
                    <path class={`line ${colour(at)}`} d={edge(points) ?? ''} />
                  </g>
                )
              )
            })}
            <AxisBottom
              left={NARROW.left}
              width={width}
              y={base}
              title=""
              ticks={ticks.map((at) => ({ at: x(at), text: tick(metric, at) }))}
            />
          </>
        )
      }}
    </Figure>
  )
}

export function LatencyChart({
  experiment,
  curves,
}: {
  experiment: Experiment
  curves: Distributions
}): JSX.Element | null {
  const names = experiment.weights.map(({ version }) => version)
  const binned = curves.versions.map(({ latencies }) => {
    const total = latencies.reduce((sum, bin) => sum + bin.count, 0)
    // A share per equal stretch of the logarithm: bins differ in width.
    return latencies
      .filter((bin) => bin.lowerMs > 0 && bin.upperMs !== undefined)
      .map((bin) => ({
        from: bin.lowerMs,
        to: bin.upperMs ?? bin.lowerMs,
        height: bin.count / total / Math.log2((bin.upperMs ?? bin.lowerMs) / bin.lowerMs),
      }))
  })
  const all = binned.flat()
  if (all.length === 0) return null
  const assessed = experiment.assessment?.versions ?? []
  const of = (version: number, name: MetricName) => assessed[version]?.metrics.find((metric) => metric.name === name)
  const rows = names.map((name, at) => {
    const [p50, p99, mean] = [of(at, 'latencyP50'), of(at, 'latencyP99'), of(at, 'latencyMean')]
    return [
      name,
      mean ? observed(mean) : '–',
      p50 ? observed(p50) : '–',
      p99 ? observed(p99) : '–',
      count(curves.versions[at]?.latencies.reduce((sum, bin) => sum + bin.count, 0) ?? 0),
    ]
  })
  const said = names.flatMap((name, at) => {
    const [p50, p99] = [of(at, 'latencyP50'), of(at, 'latencyP99')]
    return p50 && p99 ? [`${name} half within ${observed(p50)}, 99% within ${observed(p99)}`] : []
  })
  return (
    <Figure
      title="Latencies as counted"
      says={said.length ? `${list(said)}.` : 'Of all settled exposures that were served.'}
      height={210}
      legend={<Legend names={names} shown={binned.map((bins) => bins.length > 0)} />}
      columns={['Version', 'Mean', 'Median', '99th percentile', 'Latencies']}
      rows={rows}
    >
      {(width, height) => {
        const low = Math.min(...all.map(({ from }) => from))
        const high = Math.max(...all.map(({ to }) => to))
        const x = scaleLog([low, high], [NARROW.left, width - NARROW.right])
        const base = height - NARROW.bottom
        const y = scaleLinear([0, max(all, (bin) => bin.height) ?? 1], [base, NARROW.top])
        const nice = [1, 2, 5]
          .flatMap((digit) => [-3, -2, -1, 0, 1, 2, 3, 4, 5, 6].map((power) => digit * 10 ** power))
          .sort((a, b) => a - b)
          .filter((tick) => tick >= low && tick <= high)
        const few =
          nice.length > width / 60 ? nice.filter((tick) => String(tick).replace(/[0.]/g, '').startsWith('1')) : nice
        return (
          <>
            {binned.map((bins, at) => {
              const steps = bins.flatMap((bin, index): [number, number][] => {
                const gap = bins[index + 1] && (bins[index + 1]?.from ?? 0) > bin.to * 1.0001
                const here: [number, number] = [bin.from, bin.height]
                return gap || index === bins.length - 1 ? [here, [bin.to, 0]] : [here]
              })
              const points: [number, number][] = steps[0] ? [[steps[0][0], 0], ...steps] : []
              const edge = line<[number, number]>()
                .x(([value]) => x(value))
                .y(([, share]) => y(share))
                .curve(curveStepAfter)
              const fill = area<[number, number]>()
                .x(([value]) => x(value))
                .y0(base)
                .y1(([, share]) => y(share))
                .curve(curveStepAfter)
              return (
                <g key={names[at]}>
                  <path class={`area faint ${colour(at)}`} d={fill(points) ?? ''} />
                  <path class={`line ${colour(at)}`} d={edge(points) ?? ''} />
                </g>
              )
            })}
            <AxisBottom
              left={NARROW.left}
              width={width}
              y={base}
              title="latency, on a logarithmic scale"
              ticks={few.map((at) => ({ at: x(at), text: milliseconds(at) }))}
            />
          </>
        )
      }}
    </Figure>
  )
}
