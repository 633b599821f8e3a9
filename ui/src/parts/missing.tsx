// What a verdict still waits for, and how long that may take.

import type { JSX } from 'preact'
import { eValue, count, roughly } from '../format'
import type { Gap } from '../types'
import { Sentence } from './common'

/** How long, in words; the sentence beside it is the API's. */
export function outlook(gap: Gap): string {
  const { outlook } = gap
  switch (outlook.kind) {
    case 'reached':
      return 'reached'
    case 'notGrowing':
      return 'does not grow'
    case 'unknown':
      return 'not known yet'
    case 'within':
      return outlook.latestMs === null
        ? `${roughly(outlook.soonestMs)} at the soonest, maybe never`
        : roughly(outlook.soonestMs) === roughly(outlook.latestMs)
          ? `about ${roughly(outlook.soonestMs)}`
          : `${roughly(outlook.soonestMs)} to ${roughly(outlook.latestMs)}`
  }
}

export function Missing({ gaps }: { gaps: Gap[] }): JSX.Element {
  return (
    <section aria-labelledby="missing">
      <h2 id="missing">Time to decision</h2>
      <p class="muted">
        What is missing, and how long it may take at this traffic. An extrapolation: it decides nothing.
      </p>
      <ul class="gaps">
        {gaps.map((gap) => {
          const exposures = gap.claim.kind === 'exposures' || gap.claim.kind === 'rung'
          const part = gap.need > 0 ? Math.min(1, Math.max(0, gap.have / gap.need)) : 1
          const said =
            gap.claim.kind === 'approval'
              ? ''
              : exposures
                ? `${count(gap.have)} of ${count(gap.need)} exposures`
                : `e-value ${eValue(gap.have)} of ${eValue(gap.need)}`
          return (
            <li key={`${gap.version}${gap.claim.kind}${gap.claim.gate ?? ''}`}>
              <p>
                <Sentence text={gap.sentence} />
              </p>
              {gap.claim.kind !== 'approval' && (
                <p class="gap">
                  <progress max={1} value={part} aria-label={`${gap.version}: ${said}`} /> <span>{said}</span>{' '}
                  <strong>{outlook(gap)}</strong>
                </p>
              )}
            </li>
          )
        })}
      </ul>
    </section>
  )
}
