// Each version in a row: its weight, what was counted, observed and believed, and its verdict in the API's words.

import type { JSX } from 'preact'
import { METRICS, best, count, interval, observed, probability, weight } from '../format'
import type { Experiment, MetricName } from '../types'
import { Badge, Dot } from './common'

export function VersionTable({ experiment }: { experiment: Experiment }): JSX.Element {
  const assessed = experiment.assessment?.versions ?? []
  const names: MetricName[] = ['rewardRate', 'rewardMean', 'errorRate', 'latencyP50', 'latencyP99']
  const columns = names.filter((name) =>
    assessed.some((version) => version.metrics.some((metric) => metric.name === name)),
  )
  const hasReward = assessed.some((version) => version.probabilityBestAndFeasible !== null)
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Versions, as a table">
      <table class="stack">
        <thead>
          <tr>
            <th scope="col">Version</th>
            <th scope="col">Weight</th>
            <th scope="col">Exposures</th>
            {columns.map((name) => (
              <th key={name} scope="col">
                {METRICS[name]}
              </th>
            ))}
            {hasReward && <th scope="col">Best that keeps its limits</th>}
            <th scope="col">Verdict</th>
          </tr>
        </thead>
        <tbody>
          {experiment.weights.map(({ version: name, weight: share }, at) => {
            const version = assessed[at]
            return (
              <tr key={name}>
                <th scope="row">
                  <Dot version={at} />
                  {name}
                  {at === experiment.experiment.baseline && <span class="muted"> baseline</span>}
                </th>
                <td data-label="Weight">
                  <strong>{weight(share)}</strong>
                </td>
                <td data-label="Exposures">
                  {version ? (
                    <>
                      {count(version.settled.assigned)}
                      <small>{count(Math.max(0, version.live.assigned - version.settled.assigned))} not settled</small>
                    </>
                  ) : (
                    '0'
                  )}
                </td>
                {columns.map((metricName) => {
                  const metric = version?.metrics.find((metric) => metric.name === metricName)
                  return (
                    <td key={metricName} data-label={METRICS[metricName]}>
                      {metric ? (
                        <>
                          {observed(metric)}
                          <small>{interval(metricName, metric.belief)}</small>
                        </>
                      ) : (
                        '–'
                      )}
                    </td>
                  )
                })}
                {hasReward && (
                  <td data-label="Best that keeps its limits">{probability(best(experiment.assessment, at))}</td>
                )}
                <td data-label="Verdict" class="verdict">
                  {version ? (
                    <>
                      {verdict(experiment, at)} {version.why}
                    </>
                  ) : (
                    'nothing settled yet'
                  )}
                </td>
              </tr>
            )
          })}
        </tbody>
      </table>
    </div>
  )
}

function verdict(experiment: Experiment, at: number): JSX.Element {
  const version = experiment.assessment?.versions[at]
  if (experiment.assessment?.winner === version?.name) return <Badge kind="good">wins</Badge>
  if (version?.out) return <Badge kind="bad">{version.baseline ? 'breaks a limit' : 'out'}</Badge>
  const covered = version?.gates.filter((gate) => gate.covered) ?? []
  if (covered.some((gate) => gate.verdict === 'violated')) return <Badge kind="bad">breaks a limit</Badge>
  if (covered.length > 0 && covered.every((gate) => gate.verdict === 'met'))
    return <Badge kind="good">limits met</Badge>
  return <Badge kind="plain">not enough evidence</Badge>
}
