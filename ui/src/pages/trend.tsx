// How has this service evolved?

import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { asApiError, paths, text, useLive } from '../api'
import type { ApiError } from '../api'
import { TrendChart, signed } from '../charts/trend'
import { METRICS, clock, count, list, measured, probability, stretch } from '../format'
import { Badge, Failure, Loading, outcomeWord } from '../parts/common'
import { fateWord } from '../parts/fate'
import type { Past, Trend as Told } from '../trendtypes'
import type { MetricName } from '../types'

const SHOWN: MetricName[] = ['rewardRate', 'rewardMean', 'errorRate', 'latencyP50', 'latencyP99']

export function Trend({ service }: { service: string }): JSX.Element {
  return service ? <Service service={service} /> : <Services />
}

function Services(): JSX.Element {
  const { data, error } = useLive<{ services: { service: string; experiments: number; concluded: number }[] }>(
    '/v1/services',
    15_000,
  )
  return (
    <>
      <h1 tabIndex={-1}>How have services evolved?</h1>
      {error && <Failure error={error} what="The services cannot be read." />}
      {!data && !error && <Loading what="services" />}
      {data?.services.length === 0 && (
        <p>
          There was no experiment yet. <a href="#/new">Create one</a>.
        </p>
      )}
      <ul class="cards">
        {data?.services.map(({ service, experiments, concluded }) => (
          <li class="card" key={service}>
            <h2>
              <a href={`#/services/${encodeURIComponent(service)}`}>{service}</a>
            </h2>
            <p class="muted">
              {count(experiments)} experiment{experiments === 1 ? '' : 's'}, {count(concluded)} concluded
            </p>
          </li>
        ))}
      </ul>
    </>
  )
}

function Service({ service }: { service: string }): JSX.Element {
  const path = paths.trend(service)
  const { data, error } = useLive<Told>(path, 15_000)
  const [failed, setFailed] = useState<ApiError | null>(null)
  const download = async (): Promise<void> => {
    setFailed(null)
    try {
      const address = URL.createObjectURL(new Blob([await text(`${path}?format=csv`)], { type: 'text/csv' }))
      const link = Object.assign(document.createElement('a'), { href: address, download: `trend-${service}.csv` })
      link.click()
      setTimeout(() => URL.revokeObjectURL(address), 10_000)
    } catch (failure) {
      setFailed(asApiError(failure))
    }
  }
  const past = data?.experiments ?? []
  return (
    <>
      <p>
        <a href="#/services">All services</a>
      </p>
      <h1 tabIndex={-1}>How has {service} evolved?</h1>
      {error && <Failure error={error} what="The trend cannot be read." />}
      {failed && <Failure error={failed} what="The table cannot be read." />}
      {!data && !error && <Loading what="the trend" />}
      {data && past.length === 0 && (
        <p>No experiment of {service} has concluded yet, or they were deleted more than 90 days ago.</p>
      )}
      {past.length > 0 && (
        <>
          <p class="muted">
            Every concluded experiment, as it was assessed when it ended. Versions of one experiment had the same
            traffic at the same time; from experiment to experiment traffic drifts.
          </p>
          <div class="buttons">
            <button type="button" onClick={() => void download()}>
              Download as CSV
            </button>
          </div>
          <div class="charts">
            {SHOWN.map((metric) => (
              <TrendChart key={metric} metric={metric} past={past} />
            ))}
          </div>
          <section aria-labelledby="past">
            <h2 id="past">What happened</h2>
            <ol class="log" reversed>
              {[...past].reverse().map((experiment) => (
                <Chapter key={experiment.id} experiment={experiment} />
              ))}
            </ol>
          </section>
        </>
      )}
    </>
  )
}

function Chapter({ experiment }: { experiment: Past }): JSX.Element {
  const { name, version, baseline, changed, deleted } = experiment
  const winner = experiment.versions.find((one) => one.name === version)
  return (
    <li>
      <p>
        <strong>{deleted ? name : <a href={`#/experiments/${encodeURIComponent(name)}`}>{name}</a>}</strong>{' '}
        <Badge kind={changed ? 'good' : 'plain'}>{outcomeWord(experiment.outcome)}</Badge>{' '}
        <span class="muted">
          {clock(experiment.concludedAt)}, after {stretch(experiment.concludedAt - experiment.beganAt)},{' '}
          {count(experiment.settledExposures)} exposures{deleted ? ', deleted since' : ''}
        </span>
      </p>
      {experiment.changedElsewhere && (
        <p class="muted">Before it, what serves was changed without Weir: its baseline was {baseline}.</p>
      )}
      <p>
        {changed ? `${version} serves instead of ${baseline}.` : `${baseline} goes on serving.`}{' '}
        {list(experiment.versions.filter((one) => !one.baseline).map((one) => `${one.name} was ${fateWord(one.fate)}`))}
        .
      </p>
      {changed && winner && (
        <ul>
          {winner.metrics
            .filter(({ name, lift }) => lift && SHOWN.includes(name))
            .map((metric) => (
              <li key={metric.name}>
                {METRICS[metric.name]} {measured(metric.name, metric.observed)}: {signed(metric.lift?.low)} to{' '}
                {signed(metric.lift?.high)} against {baseline}
                {metric.probabilityBetter === null ? '' : `, better with ${probability(metric.probabilityBetter)}`}
              </li>
            ))}
        </ul>
      )}
    </li>
  )
}
