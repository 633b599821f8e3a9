// What is running?

import type { JSX } from 'preact'
import { useMemo, useState } from 'preact/hooks'
import { paths, useLive } from '../api'
import { count, list, weight } from '../format'
import { Badge, Dot, Failure, Loading, PhaseBadge, Time, WeightBar, attention } from '../parts/common'
import type { Experiment } from '../types'

type Filter = 'all' | 'attention' | 'running' | 'concluded'
const FILTERS: [Filter, string][] = [
  ['all', 'All'],
  ['attention', 'Want attention'],
  ['running', 'Under way'],
  ['concluded', 'Concluded'],
]

const passes = (experiment: Experiment, filter: Filter): boolean => {
  switch (filter) {
    case 'all':
      return true
    case 'attention':
      return attention(experiment).length > 0
    case 'running':
      return experiment.phase !== 'concluded'
    case 'concluded':
      return experiment.phase === 'concluded'
  }
}

export function List(): JSX.Element {
  const { data, error } = useLive<{ experiments: Experiment[] }>(paths.experiments, 2_000)
  const [search, setSearch] = useState('')
  const [filter, setFilter] = useState<Filter>('all')
  const experiments = data?.experiments
  const shown = useMemo(
    () =>
      (experiments ?? []).filter((experiment) => {
        const words = search.toLowerCase().split(/\s+/).filter(Boolean)
        const text = [
          experiment.name,
          experiment.service,
          experiment.phase,
          ...experiment.weights.map(({ version }) => version),
          ...(experiment.experiment.matching.hosts ?? []),
        ]
          .join(' ')
          .toLowerCase()
        return passes(experiment, filter) && words.every((word) => text.includes(word))
      }),
    [experiments, search, filter],
  )
  return (
    <>
      <h1 tabIndex={-1}>What is running?</h1>
      {error && <Failure error={error} what="The experiments cannot be read." />}
      {!experiments && !error && <Loading what="experiments" />}
      {experiments && <Glance experiments={experiments} />}
      {experiments && experiments.length > 0 && (
        <div class="tools">
          <label class="grow">
            Search
            <input
              type="search"
              placeholder="name, service, version or host"
              value={search}
              onInput={(event) => setSearch(event.currentTarget.value)}
            />
          </label>
          <fieldset class="choices">
            <legend class="unseen">Which</legend>
            {FILTERS.map(([value, text]) => (
              <label key={value}>
                <input type="radio" name="filter" checked={filter === value} onChange={() => setFilter(value)} />{' '}
                <span>{text}</span>
              </label>
            ))}
          </fieldset>
        </div>
      )}
      {experiments?.length === 0 && (
        <div class="card">
          <p>
            There is no experiment. <a href="#/new">Create one</a>, or apply a document:
          </p>
          <pre tabIndex={0}>weir apply -f checkout.yaml</pre>
        </div>
      )}
      {experiments && experiments.length > 0 && (
        <p class="unseen" role="status">
          {shown.length} of {experiments.length} experiments shown
        </p>
      )}
      {experiments && experiments.length > 0 && shown.length === 0 && <p>No experiment is like that.</p>}
      <ul class="cards">
        {shown.map((experiment) => (
          <Row key={experiment.id} experiment={experiment} />
        ))}
      </ul>
    </>
  )
}

function Glance({ experiments }: { experiments: Experiment[] }): JSX.Element | null {
  if (experiments.length === 0) return null
  const under = experiments.filter(({ phase }) => phase !== 'concluded')
  const waits = experiments.filter((experiment) => attention(experiment).some(({ kind }) => kind === 'wait'))
  const wrong = experiments.filter((experiment) => attention(experiment).some(({ kind }) => kind === 'bad'))
  return (
    <dl class="glance">
      <div>
        <dt>under way</dt>
        <dd>{under.length}</dd>
      </div>
      <div class={waits.length ? 'wait' : ''}>
        <dt>wait for a person</dt>
        <dd>{waits.length}</dd>
      </div>
      <div class={wrong.length ? 'bad' : ''}>
        <dt>something is wrong</dt>
        <dd>{wrong.length}</dd>
      </div>
      <div>
        <dt>concluded</dt>
        <dd>{experiments.length - under.length}</dd>
      </div>
    </dl>
  )
}

function Row({ experiment }: { experiment: Experiment }): JSX.Element {
  const address = `#/experiments/${encodeURIComponent(experiment.name)}`
  const found = attention(experiment)
  const { lastChange } = experiment
  return (
    <li class="card">
      <div class="line-up">
        <h2>
          <a href={address}>{experiment.name}</a>
        </h2>
        <PhaseBadge experiment={experiment} />
        <span class="muted">
          of <a href={`#/services/${encodeURIComponent(experiment.service)}`}>{experiment.service}</a>
        </span>
        {found.some(({ kind }) => kind === 'wait') && (
          <a class="button" href={`${address}/decide`}>
            Decide<span class="unseen"> about {experiment.name}</span>
          </a>
        )}
      </div>
      <WeightBar experiment={experiment} />
      <p class="versions">
        {experiment.weights.map(({ version, weight: share }, at) => (
          <span key={version}>
            <Dot version={at} />
            {version} <strong>{weight(share)}</strong>
            {experiment.state.out[at] ? ' (out)' : ''}
          </span>
        ))}
      </p>
      {found.length > 0 && (
        <ul class="attention">
          {found.map(({ kind, text }) => (
            <li key={text}>
              <Badge kind={kind}>{kind === 'wait' ? 'waits' : 'look'}</Badge> {text}
            </li>
          ))}
        </ul>
      )}
      <p class="muted">
        {count(experiment.assessment?.settledExposures ?? 0)} exposures settled
        {experiment.assessment && experiment.phase !== 'concluded' && `. ${experiment.assessment.conclusion}`}
        {lastChange && (
          <>
            {experiment.phase === 'concluded' ? '. ' : ' '}Last change <Time at={lastChange.at} />:{' '}
            {list(lastChange.reasons.slice(0, 1))}
          </>
        )}
      </p>
    </li>
  )
}
