// Small pieces that every page uses: errors in words, badges, links, sentences with code in them.

import type { ComponentChildren, JSX } from 'preact'
import { ApiError } from '../api'
import type { Experiment } from '../types'
import { ago, clock, weight as percentage } from '../format'

/** An error of the API: what was said, where, and what to do. */
export function Failure({ error, what }: { error: ApiError; what?: string }): JSX.Element {
  return (
    <div class="notice bad" role="alert">
      <p>
        <strong>{what ?? 'That did not work.'}</strong> {error.message}
      </p>
      {error.problems.filter((problem) => problem.message !== error.message).length > 0 && (
        <ul>
          {error.problems.map((problem) => (
            <li key={`${problem.path}${problem.line}${problem.message}`}>
              <code>
                {problem.line ? `line ${problem.line}: ` : ''}
                {problem.path}
              </code>
              : {problem.message}
            </li>
          ))}
        </ul>
      )}
      {error.advice && <p>{error.advice}</p>}
    </div>
  )
}

export function Loading({ what }: { what: string }): JSX.Element {
  return (
    <p class="muted" role="status">
      Reading {what} …
    </p>
  )
}

/** A sentence of the API, its code as code. */
export function Sentence({ text }: { text: string }): JSX.Element {
  return <>{text.split('`').map((part, at) => (at % 2 ? <code key={at}>{part}</code> : part))}</>
}

export function Time({ at }: { at: number }): JSX.Element {
  return (
    <time dateTime={new Date(at).toISOString()} title={clock(at)}>
      {ago(at)}
    </time>
  )
}

/** The colour of a version is that of its place in the experiment, everywhere; from the ninth on they come again, drawn otherwise. */
export const colour = (version: number): string => `v${version % 8}${version >= 8 ? ' more' : ''}`

export function Dot({ version }: { version: number }): JSX.Element {
  return <span class={`dot ${colour(version)}`} aria-hidden="true" />
}

export function Badge({
  kind,
  children,
}: {
  kind: 'good' | 'bad' | 'wait' | 'plain' | 'run'
  children: ComponentChildren
}): JSX.Element {
  return <span class={`badge ${kind}`}>{children}</span>
}

export function PhaseBadge({ experiment }: { experiment: Experiment }): JSX.Element {
  const { phase } = experiment.state
  if (phase.phase === 'concluded') return <Badge kind="plain">{outcomeWord(phase.outcome)}</Badge>
  if (phase.phase === 'running') return <Badge kind="run">running</Badge>
  return <Badge kind="wait">{phase.phase}</Badge>
}

export function outcomeWord(outcome: string): string {
  return (
    { promoted: 'promoted', rolledBack: 'rolled back', inconclusive: 'inconclusive', stopped: 'stopped' }[outcome] ??
    outcome
  )
}

export const versionName = (experiment: Experiment, version: number): string =>
  experiment.weights[version]?.version ?? `version ${version}`

/** What of an experiment wants a person's eye, most urgent first. */
export function attention(experiment: Experiment): { kind: 'wait' | 'bad'; text: string }[] {
  const found: { kind: 'wait' | 'bad'; text: string }[] = []
  const { state } = experiment
  if (state.awaited) {
    const step = state.awaited.step
    const what =
      'promotion' in step
        ? `the promotion of ${versionName(experiment, step.promotion.version)} waits`
        : 'new weights wait'
    found.push({ kind: 'wait', text: `${what} for approval` })
  }
  if (state.phase.phase === 'pending') found.push({ kind: 'wait', text: 'waits to be started' })
  if (state.phase.phase === 'paused') found.push({ kind: 'wait', text: pauseWord(state.phase.cause) })
  for (const trip of state.trips ?? []) {
    if (trip.open) found.push({ kind: 'bad', text: `the breaker holds ${versionName(experiment, trip.version)}` })
  }
  if (state.sampleRatioBroken) found.push({ kind: 'bad', text: 'exposures do not follow the weights' })
  for (const warning of experiment.healthWarnings) found.push({ kind: 'bad', text: warning })
  return found
}

function pauseWord(cause: string): string {
  return (
    {
      asked: 'paused by a person',
      weights: 'paused with weights set by hand',
      timeout: 'paused: its longest duration has passed, a person decides',
    }[cause] ?? 'paused'
  )
}

/** The weights as a bar, for the eye; the words are beside it. */
export function WeightBar({ experiment }: { experiment: Experiment }): JSX.Element {
  const said = experiment.weights.map(({ version, weight }) => `${version} ${percentage(weight)}`).join(', ')
  return (
    <div class="weight-bar" role="img" aria-label={`Weights: ${said}`}>
      {experiment.weights.map(
        ({ version, weight }, at) =>
          weight > 0 && (
            <span
              key={version}
              class={colour(at)}
              style={{ flexGrow: weight, flexBasis: 0 }}
              title={`${version} ${percentage(weight)}`}
            />
          ),
      )}
    </div>
  )
}
