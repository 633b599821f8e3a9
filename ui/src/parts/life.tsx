// Decisions about the life of an experiment: approve what waits, start, pause, resume, stop, delete.

import type { JSX } from 'preact'
import { paths, send } from '../api'
import { versionName } from './common'
import { shares } from './decision'
import type { Part } from './decision'

export function Approve({ experiment, open, order }: Part): JSX.Element | null {
  const awaited = experiment.state.awaited
  if (!awaited) return null
  const { step, since } = awaited
  const what =
    'promotion' in step
      ? `${versionName(experiment, step.promotion.version)} is promoted: it gets all traffic at once, and the experiment concludes.`
      : `Weights become ${shares(experiment, step.weights.weights)} at once; now they are ${shares(
          experiment,
          experiment.weights.map(({ weight }) => weight),
        )}.`
  return (
    <section class="card wait" aria-labelledby="approve">
      <h2 id="approve">Approve</h2>
      <p>{what}</p>
      <button
        type="button"
        class="primary"
        onClick={() =>
          open({
            title: `Approve what waits for ${experiment.name}?`,
            consequence: (
              <p>{what} It is refused if something else waits by then, or if evidence no longer warrants it.</p>
            ),
            verb: 'Approve',
            run: order({ command: 'approve', awaitedSince: since }),
          })
        }
      >
        Approve …
      </button>
    </section>
  )
}

export function Start({ experiment, open, order }: Part): JSX.Element {
  return (
    <section class="card wait" aria-labelledby="start">
      <h2 id="start">Start</h2>
      <p>
        It waits: all traffic goes to {versionName(experiment, experiment.experiment.baseline)}, nothing is counted.
      </p>
      <button
        type="button"
        class="primary"
        onClick={() =>
          open({
            title: `Start ${experiment.name}?`,
            consequence: (
              <p>
                Traffic that matches is split at once, and counted:{' '}
                {shares(experiment, experiment.state.epochs.at(-1)?.weights ?? [])}.
              </p>
            ),
            verb: 'Start',
            run: order({ command: 'start' }),
          })
        }
      >
        Start …
      </button>
    </section>
  )
}

export function Pause({ experiment, open, order }: Part): JSX.Element {
  return (
    <section class="card" aria-labelledby="pause">
      <h2 id="pause">Pause</h2>
      <p>Weights stay as they are until it is resumed.</p>
      <button
        type="button"
        onClick={() =>
          open({
            title: `Pause ${experiment.name}?`,
            consequence: (
              <p>
                Weights stay at{' '}
                {shares(
                  experiment,
                  experiment.weights.map(({ weight }) => weight),
                )}
                . Counting goes on; nobody is promoted, no time runs out, and the breaker rests. Only evidence of a
                violation still moves traffic: it rolls back.
              </p>
            ),
            verb: 'Pause',
            run: order({ command: 'pause' }),
          })
        }
      >
        Pause …
      </button>
    </section>
  )
}

export function Resume({ experiment, open, order }: Part): JSX.Element {
  const { strategy } = experiment.experiment
  const then = strategy.canary
    ? 'The canary goes back to the weights of its rung'
    : strategy.ab
      ? 'The test goes back to its split'
      : 'Weights move on from where they are'
  return (
    <section class="card wait" aria-labelledby="resume">
      <h2 id="resume">Resume</h2>
      <p>{then}.</p>
      <button
        type="button"
        class="primary"
        onClick={() =>
          open({
            title: `Resume ${experiment.name}?`,
            consequence: <p>{then}, and it decides by itself again.</p>,
            verb: 'Resume',
            run: order({ command: 'resume' }),
          })
        }
      >
        Resume …
      </button>
    </section>
  )
}

export function Stop({ experiment, open, order }: Part): JSX.Element {
  const base = versionName(experiment, experiment.experiment.baseline)
  return (
    <section class="card" aria-labelledby="stop">
      <h2 id="stop">Stop</h2>
      <p>Ends it without an outcome, on {base}.</p>
      <button
        type="button"
        class="danger"
        onClick={() =>
          open({
            title: `Stop ${experiment.name}?`,
            consequence: (
              <p>
                The experiment concludes without an outcome, and all traffic goes to {base} at once. It cannot go on
                later: what was counted stays, a new experiment begins anew.
              </p>
            ),
            danger: true,
            verb: 'Stop',
            run: order({ command: 'stop' }),
          })
        }
      >
        Stop …
      </button>
    </section>
  )
}

export function Delete({ experiment, open }: Part): JSX.Element {
  const base = versionName(experiment, experiment.experiment.baseline)
  const { phase } = experiment.state
  const goes = phase.phase === 'concluded' ? versionName(experiment, phase.version) : null
  return (
    <section class="card" aria-labelledby="delete">
      <h2 id="delete">Delete</h2>
      <p>Its requests go back to what the routes do without a filter: {base}.</p>
      <button
        type="button"
        class="danger"
        onClick={() =>
          open({
            title: `Delete ${experiment.name}?`,
            consequence: (
              <p>
                {goes && goes !== base
                  ? `Requests that now go to ${goes} go back to ${base}, unless the routes send them to ${goes} by now.`
                  : `Its requests go to ${base} at once.`}{' '}
                The experiment is gone from the list; its journal is kept for 90 days.
              </p>
            ),
            danger: true,
            verb: 'Delete',
            run: async (reason, key) => {
              const path = `${paths.experiment(experiment.name)}?reason=${encodeURIComponent(reason)}`
              await send('DELETE', path, undefined, { key })
              location.hash = '#/'
            },
          })
        }
      >
        Delete …
      </button>
    </section>
  )
}
