// Evidence against what it must reach: a row per claim, its e-value on a logarithmic scale, the bar as a line.

import { scaleLinear } from 'd3-scale'
import type { JSX } from 'preact'
import { AxisBottom, Figure, MARGIN } from './plot'
import { eValue } from '../format'
import type { Assessment, Experiment } from '../types'

interface Claim {
  version: number
  name: string
  says: string
  logE: number
  firesAt: number
  kind: 'violated' | 'met' | 'beaten'
}

const WORDS = { violated: 'is broken', met: 'is kept' }
/** Beyond these, natural logs of e-values are drawn at the edge. */
export const [LOWEST, HIGHEST] = [Math.log(0.01), Math.log(10_000)]

export function claims(assessment: Assessment | null): Claim[] {
  return (assessment?.versions ?? []).flatMap((version, at) => {
    const gates = version.gates
      .filter((gate) => gate.covered)
      .flatMap((gate): Claim[] => [
        {
          version: at,
          name: version.name,
          says: `${gate.name} ${WORDS.violated}`,
          logE: gate.logEViolated,
          firesAt: gate.violatedAt,
          kind: 'violated',
        },
        {
          version: at,
          name: version.name,
          says: `${gate.name} ${WORDS.met}`,
          logE: gate.logEMet,
          firesAt: gate.metAt,
          kind: 'met',
        },
      ])
    const promotion = assessment?.alpha.promotion ?? 0.05
    const beaten: Claim[] =
      version.logEBeaten === null
        ? []
        : [
            {
              version: at,
              name: version.name,
              says: 'another version is better',
              logE: version.logEBeaten,
              firesAt: Math.log(1 / promotion),
              kind: 'beaten',
            },
          ]
    return [...gates, ...beaten]
  })
}

export function EvidenceChart({ experiment }: { experiment: Experiment }): JSX.Element | null {
  const rows = claims(experiment.assessment)
  if (rows.length === 0) return null
  const reached = rows.filter(({ logE, firesAt }) => logE >= firesAt)
  const says = `An e-value of 1 says nothing; one at its bar is acted on. ${reached.length} of ${rows.length} claims have reached their bar now.`
  const rowHeight = 24
  const height = rows.length * rowHeight + MARGIN.top + MARGIN.bottom
  return (
    <Figure
      title="Evidence against its limits"
      says={says}
      height={height}
      columns={['Version', 'Claim', 'E-value', 'Needed', 'Reached']}
      rows={rows.map((claim) => [
        claim.name,
        claim.says,
        eValue(claim.logE),
        eValue(claim.firesAt),
        claim.logE >= claim.firesAt ? 'yes' : 'no',
      ])}
    >
      {(width) => {
        const label = Math.min(230, width * 0.46)
        const x = scaleLinear([LOWEST, HIGHEST], [label, width - MARGIN.right]).clamp(true)
        const base = height - MARGIN.bottom
        const ticks = (width > 520 ? [0.01, 0.1, 1, 10, 100, 1_000, 10_000] : [0.01, 1, 100, 10_000]).map((e) => ({
          at: x(Math.log(e)),
          text: e >= 1_000 ? `${e / 1_000}k` : String(e),
        }))
        return (
          <>
            <g class="axis">
              {ticks.map(({ at, text }) => (
                <line key={text} class="grid" x1={at} x2={at} y1={MARGIN.top} y2={base} />
              ))}
            </g>
            {rows.map((claim, at) => {
              const y = MARGIN.top + at * rowHeight + rowHeight / 2
              const fires = claim.logE >= claim.firesAt
              const from = x(Math.min(0, claim.logE))
              return (
                <g key={`${claim.name}${claim.says}`}>
                  <title>{`${claim.name}: ${claim.says}: e-value ${eValue(claim.logE)}, ${eValue(claim.firesAt)} needed`}</title>
                  <text class="label" x={label - 8} y={y + 4} text-anchor="end">
                    {short(`${claim.name}: ${claim.says}`, label)}
                  </text>
                  <rect
                    class={`evidence ${claim.kind}${fires ? ' fires' : ''}`}
                    x={from}
                    y={y - 6}
                    width={Math.max(2, x(Math.max(0, claim.logE)) - from)}
                    height={12}
                    rx={2}
                  />
                  <line class="bar" x1={x(claim.firesAt)} x2={x(claim.firesAt)} y1={y - 10} y2={y + 10} />
                </g>
              )
            })}
            <line class="one" x1={x(0)} x2={x(0)} y1={MARGIN.top} y2={base} />
            <AxisBottom
              left={label}
              width={width}
              y={base}
              title="e-value, on a logarithmic scale; | what it needs"
              ticks={ticks}
            />
          </>
        )
      }}
    </Figure>
  )
}

/** A label that fits: the table has it whole. */
function short(text: string, room: number): string {
  const most = Math.floor((room - 10) / 6.6)
  return text.length > most ? `${text.slice(0, most - 1)}…` : text
}
