// Evidence over time: each version's e-value for a claim, look by look, on a logarithmic scale, and what it needs as a line.

import { scaleLinear } from 'd3-scale'
import { curveStepAfter, line } from 'd3-shape'
import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { asApiError, paths, read } from '../api'
import type { ApiError } from '../api'
import { eValue, stretch } from '../format'
import { Failure, colour } from '../parts/common'
import type { Assessment, Decision, Experiment } from '../types'
import { HIGHEST, LOWEST, claims } from './evidence'
import { AxisBottom, AxisLeft, Figure, Legend, MARGIN } from './plot'
import { timeTicks } from './weights'

/** Decisions that are read: the latest. Of decisions to hold few are kept, so that this reaches far back. */
const MOST = 200

export interface Look {
  /** Milliseconds since the experiment began. */
  at: number
  assessment: Assessment
}

/** Looks that are known, oldest first: those at which something was decided, and the latest. */
export function looksOf(experiment: Experiment, decisions: Decision[]): Look[] {
  const begin = experiment.state.startedAt || experiment.createdAt
  const told = decisions.flatMap(({ at, assessment }) =>
    assessment ? [{ at: Math.max(0, at - begin), assessment }] : [],
  )
  const end = experiment.state.phase.phase === 'concluded' ? experiment.state.phase.at : Date.now()
  const latest = experiment.assessment ? [{ at: Math.max(0, end - begin), assessment: experiment.assessment }] : []
  return [...told, ...latest].sort((a, b) => a.at - b.at)
}

export function Growth({ experiment }: { experiment: Experiment }): JSX.Element | null {
  const [decisions, setDecisions] = useState<Decision[] | null>(null)
  const [error, setError] = useState<ApiError | null>(null)
  const all = claims(experiment.assessment)
  const choices = [...new Set(all.map(({ says }) => says))]
  const [chosen, setChosen] = useState('')
  const says = choices.includes(chosen) ? chosen : (choices[0] ?? '')
  if (!says) return null
  const load = (): void => {
    setError(null)
    read<{ decisions: Decision[] }>(paths.decisions(experiment.name, MOST))
      .then((found) => setDecisions(found.decisions))
      .catch((failure: unknown) => setError(asApiError(failure)))
  }
  if (!decisions)
    return (
      <>
        {error && <Failure error={error} what="What was decided cannot be read." />}
        <button type="button" onClick={load}>
          Show how it grew
        </button>
      </>
    )
  return (
    <>
      <label>
        Which claim{' '}
        <select value={says} onChange={(event) => setChosen(event.currentTarget.value)}>
          {choices.map((claim) => (
            <option key={claim} value={claim}>
              {claim}
            </option>
          ))}
        </select>
      </label>
      <GrowthChart experiment={experiment} looks={looksOf(experiment, decisions)} says={says} />
    </>
  )
}

function GrowthChart({
  experiment,
  looks,
  says,
}: {
  experiment: Experiment
  looks: Look[]
  says: string
}): JSX.Element {
  const names = experiment.weights.map(({ version }) => version)
  const points = looks.map(({ at, assessment }) => {
    const of = claims(assessment).filter((claim) => claim.says === says)
    return { at, logE: names.map((_, version) => of.find((claim) => claim.version === version)?.logE) }
  })
  const bars = [
    ...new Set(
      claims(experiment.assessment)
        .filter((claim) => claim.says === says)
        .map(({ firesAt }) => firesAt),
    ),
  ]
  const until = Math.max(1_000, points.at(-1)?.at ?? 0)
  const told = bars.map(eValue).join(' or ')
  return (
    <Figure
      title={`Evidence that ${says}, over time`}
      says={`At the looks at which something was decided, and now. ${told} is acted on: the dashed line.`}
      legend={<Legend names={names} shown={names.map((_, at) => points.some(({ logE }) => logE[at] !== undefined))} />}
      columns={['After', ...names]}
      rows={points.map(({ at, logE }) => [stretch(at), ...logE.map((e) => (e === undefined ? '–' : eValue(e)))])}
    >
      {(width, height) => {
        const x = scaleLinear([0, until], [MARGIN.left, width - MARGIN.right])
        const y = scaleLinear([LOWEST, HIGHEST], [height - MARGIN.bottom, MARGIN.top]).clamp(true)
        return (
          <>
            <AxisLeft
              width={width}
              ticks={[0.01, 1, 100, 10_000].map((e) => ({
                at: y(Math.log(e)),
                text: e >= 1_000 ? `${e / 1_000}k` : String(e),
              }))}
            />
            {names.map((name, version) => (
              <path
                key={name}
                class={`line ${colour(version)}`}
                d={
                  line<(typeof points)[number]>()
                    .defined(({ logE }) => logE[version] !== undefined)
                    .x(({ at }) => x(at))
                    .y(({ logE }) => y(logE[version] ?? 0))
                    .curve(curveStepAfter)(points) ?? ''
                }
              />
            ))}
            {bars.map((bar) => (
              <line key={bar} class="limit" x1={MARGIN.left} x2={width - MARGIN.right} y1={y(bar)} y2={y(bar)} />
            ))}
            <AxisBottom
              width={width}
              y={height - MARGIN.bottom}
              title="time since it began"
              ticks={timeTicks(until, width > 460 ? 6 : 3).map((at) => ({ at: x(at), text: stretch(at) }))}
            />
          </>
        )
      }}
    </Figure>
  )
}
