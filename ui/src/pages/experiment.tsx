// How is this experiment doing?

import type { JSX } from 'preact'
import { paths, useLive } from '../api'
import { BeliefChart, LatencyChart } from '../charts/beliefs'
import { EvidenceChart } from '../charts/evidence'
import { Growth } from '../charts/growth'
import { WeightsChart } from '../charts/weights'
import { Failure, Loading, Sentence } from '../parts/common'
import { Header } from '../parts/header'
import { Log } from '../parts/log'
import { Missing } from '../parts/missing'
import { NoExperiment } from '../parts/notthere'
import { Trust } from '../parts/trust'
import { VersionTable } from '../parts/versions'
import type { Distributions, Experiment, Explanation, MetricName } from '../types'

const SHOWN: MetricName[] = ['rewardRate', 'rewardMean', 'errorRate', 'latencyMean']

/** Weights from epoch to epoch, as filters carried them out. */
export function history(experiment: Experiment): { points: { at: number; weights: number[] }[]; until: number } {
  const { state } = experiment
  const begin = state.epochs[0]?.beganAt ?? experiment.createdAt
  const points =
    state.phase.phase === 'pending'
      ? []
      : state.epochs.map(({ beganAt, weights }) => ({ at: Math.max(0, beganAt - begin), weights }))
  const end = state.phase.phase === 'concluded' ? state.phase.at : Date.now()
  if (state.phase.phase === 'concluded')
    points.push({ at: Math.max(0, end - begin), weights: experiment.weights.map(({ weight }) => weight) })
  // What it was concluded with is seen beside what it had: a little of the time after is shown too.
  const until = Math.max(1_000, end - begin)
  return { points, until: state.phase.phase === 'concluded' ? until * 1.06 : until }
}

export function ExperimentPage({ name }: { name: string }): JSX.Element {
  const { data: experiment, error } = useLive<Experiment>(paths.experiment(name), 2_000)
  const over = experiment?.phase === 'concluded'
  const { data: told, error: untold } = useLive<Explanation>(
    experiment ? paths.explanation(name) : null,
    over ? 30_000 : 5_000,
  )
  const { data: curves } = useLive<Distributions>(experiment ? paths.distributions(name) : null, over ? 30_000 : 5_000)
  if (!experiment && error?.status === 404) return <NoExperiment name={name} />
  if (!experiment)
    return (
      <>
        <h1 tabIndex={-1}>{name}</h1>
        {error ? <Failure error={error} what="The experiment cannot be read." /> : <Loading what={name} />}
      </>
    )
  const names = experiment.weights.map(({ version }) => version)
  const { points, until } = history(experiment)
  const concluded = experiment.state.phase.phase === 'concluded'
  return (
    <>
      <Header experiment={experiment} page="experiment" told={told} />
      {error && <Failure error={error} what="What is shown is not the latest." />}
      {untold && <Failure error={untold} what="The story cannot be read." />}
      <section aria-labelledby="versions">
        <h2 id="versions">Versions</h2>
        {experiment.assessment && <p class="conclusion">{experiment.assessment.conclusion}</p>}
        <VersionTable experiment={experiment} />
      </section>
      <Trust experiment={experiment} />
      {points.length > 0 && (
        <section aria-labelledby="weights">
          <h2 id="weights">Where traffic goes</h2>
          <WeightsChart names={names} points={points} until={until} end={concluded ? 'At the end' : 'Now'} />
        </section>
      )}
      <section aria-labelledby="evidence">
        <h2 id="evidence">What is evident</h2>
        {told && told.evidence.length > 0 ? (
          <ul>
            {told.evidence.map((text) => (
              <li key={text}>
                <Sentence text={text} />
              </li>
            ))}
          </ul>
        ) : (
          <p class="muted">Nothing yet: evidence needs settled exposures.</p>
        )}
        <EvidenceChart experiment={experiment} />
        <Growth experiment={experiment} />
      </section>
      {told && told.missing.length > 0 && <Missing gaps={told.missing} />}
      <section aria-labelledby="beliefs">
        <h2 id="beliefs">What is believed</h2>
        <p class="muted">Beliefs steer weights and inform people; they decide nothing.</p>
        {told && (
          <ul>
            {told.beliefs.map((text) => (
              <li key={text}>
                <Sentence text={text} />
              </li>
            ))}
          </ul>
        )}
        <div class="charts">
          {curves &&
            SHOWN.map((metric) => <BeliefChart key={metric} metric={metric} experiment={experiment} curves={curves} />)}
          {curves && <LatencyChart experiment={experiment} curves={curves} />}
        </div>
      </section>
      <Log story={told?.story} name={name} />
      {experiment.document && (
        <section aria-labelledby="document">
          <h2 id="document">The document</h2>
          <details>
            <summary>As it was applied</summary>
            <pre tabIndex={0}>{experiment.document}</pre>
            <p>
              <a href={`#/experiments/${encodeURIComponent(name)}/edit`}>Change it</a>
            </p>
          </details>
        </section>
      )}
    </>
  )
}
