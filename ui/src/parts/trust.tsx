// Whether the data can be trusted: what is known of telemetry, and whether exposures follow the weights, also while all is well.

import type { JSX } from 'preact'
import { count, eValue, milliseconds, percent } from '../format'
import type { Experiment } from '../types'
import { Badge } from './common'

export function Trust({ experiment }: { experiment: Experiment }): JSX.Element | null {
  const { health, healthWarnings, assessment, phase, state } = experiment
  if (phase === 'pending' || phase === 'concluded') return null
  const ratio = assessment?.sampleRatio
  const broken = state.sampleRatioBroken || ratio?.broken === true
  return (
    <section aria-labelledby="trust">
      <h2 id="trust">Can the data be trusted?</h2>
      <ul class="attention">
        <li>
          <Badge kind={healthWarnings.length ? 'bad' : 'good'}>{healthWarnings.length ? 'look' : 'fine'}</Badge>{' '}
          Telemetry: {health.live === 1 ? 'one worker reports' : `${count(health.live)} workers report`}
          {health.newestReportMs === null
            ? ''
            : `, the last time ${milliseconds(health.newestReportMs)} before the latest look`}
          {health.silent > 0 ? `; ${count(health.silent)} have fallen silent` : ''}. {healthWarnings.join(' ')}
        </li>
        <li>
          <Badge kind={broken ? 'bad' : ratio ? 'good' : 'plain'}>
            {broken ? 'look' : ratio ? 'fine' : 'not tested'}
          </Badge>{' '}
          Sample ratio:{' '}
          {broken
            ? 'exposures do not follow the weights.'
            : ratio
              ? `nothing says that exposures do not follow the weights: e-value ${eValue(ratio.logEBroken)}, ${eValue(ratio.brokenAt)} would.`
              : 'cannot be tested where users are the unit, or before there are exposures.'}
        </li>
        {assessment && assessment.coverage < 0.995 && (
          <li>
            <Badge kind="plain">note</Badge> Beliefs use {percent(assessment.coverage)} of the settled exposures: those
            at weights at which all that are compared had some.
          </li>
        )}
      </ul>
    </section>
  )
}
