// Decisions about traffic: set weights, promote, roll back.

import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { best, probability, weight } from '../format'
import type { Experiment } from '../types'
import { Dot, colour, versionName } from './common'
import { shares } from './decision'
import type { Part } from './decision'
import { WHOLE, rebalance } from './sliders'

export function SetWeights({ experiment, open, order }: Part): JSX.Element {
  const now = experiment.weights.map(({ weight }) => weight)
  const [weights, setWeights] = useState(now)
  const [touched, setTouched] = useState(false)
  const { baseline } = experiment.experiment
  const fixed = experiment.state.out.map((out, at) => out && at !== baseline)
  const known = now.join()
  useEffect(() => {
    if (!touched) setWeights(now)
  }, [known, touched])
  const move = (at: number, value: number): void => {
    setTouched(true)
    setWeights((before) => rebalance(before, at, value, fixed))
  }
  const sum = weights.reduce((all, share) => all + share, 0)
  const wanted = Object.fromEntries(experiment.weights.map(({ version }, at) => [version, weights[at] ?? 0]))
  return (
    <section class="card" aria-labelledby="set-weights">
      <h2 id="set-weights">Set weights</h2>
      <p>Move one, and the others share what is left. Setting weights pauses the experiment.</p>
      {experiment.weights.map(({ version }, at) => (
        <div class="slider" key={version}>
          <label for={`weight-${at}`}>
            <Dot version={at} />
            {version}
            {fixed[at] ? ' (out: gets no weight again)' : ''}
          </label>
          <input
            id={`weight-${at}`}
            type="range"
            min={0}
            max={WHOLE}
            step={100}
            value={weights[at]}
            disabled={fixed[at]}
            class={colour(at)}
            aria-valuetext={weight(weights[at] ?? 0)}
            onInput={(event) => move(at, Number(event.currentTarget.value))}
          />
          <span class="exact">
            <input
              type="number"
              aria-label={`Weight of ${version} in percent`}
              min={0}
              max={100}
              step={0.01}
              disabled={fixed[at]}
              value={(weights[at] ?? 0) / 100}
              onChange={(event) => move(at, Math.round(Number(event.currentTarget.value) * 100))}
            />{' '}
            %
          </span>
        </div>
      ))}
      <p>
        Together{' '}
        <output>
          <strong>{weight(sum)}</strong>
        </output>
      </p>
      <div class="buttons">
        {touched && (
          <button type="button" onClick={() => setTouched(false)}>
            As it is now
          </button>
        )}
        <button
          type="button"
          disabled={!touched || sum !== WHOLE}
          onClick={() =>
            open({
              title: `Set the weights of ${experiment.name}?`,
              consequence: (
                <p>
                  Traffic goes {shares(experiment, weights)} at once, and the experiment is paused with that until
                  somebody resumes it. Counting goes on; only evidence of a violation still moves traffic.
                </p>
              ),
              verb: 'Set weights',
              run: async (reason, key) => {
                await order({ command: 'setWeights', weights: wanted })(reason, key)
                setTouched(false)
              },
            })
          }
        >
          Set weights …
        </button>
      </div>
    </section>
  )
}

function Choice({
  experiment,
  value,
  set,
  of,
  label,
  all,
}: {
  experiment: Experiment
  value: string
  set: (value: string) => void
  of: string[]
  label: string
  all?: boolean
}): JSX.Element {
  return (
    <label>
      {label}
      <select value={value} onChange={(event) => set(event.currentTarget.value)}>
        {of.map((version) => (
          <option key={version} value={version}>
            {version}
            {version === versionName(experiment, experiment.experiment.baseline) ? ' (baseline)' : ''}
          </option>
        ))}
        {all && <option value="">every candidate</option>}
      </select>
    </label>
  )
}

export function Promote({ experiment, open, order }: Part): JSX.Element {
  const { baseline } = experiment.experiment
  const able = experiment.weights
    .map(({ version }) => version)
    .filter((_, at) => at === baseline || !experiment.state.out[at])
  const [chosen, setChosen] = useState('')
  const first =
    experiment.assessment?.winner ??
    able.find((version) => version !== versionName(experiment, baseline)) ??
    able[0] ??
    ''
  const version = able.includes(chosen) ? chosen : first
  const at = experiment.assessment?.versions.findIndex(({ name }) => name === version) ?? -1
  const assessed = experiment.assessment?.versions[at]
  const believed = best(experiment.assessment, at)
  const wins = experiment.assessment?.winner === version
  return (
    <section class="card" aria-labelledby="promote">
      <h2 id="promote">Promote</h2>
      <Choice experiment={experiment} label="Version to promote" of={able} value={version} set={setChosen} />
      <button
        type="button"
        onClick={() =>
          open({
            title: `Promote ${version}?`,
            consequence: (
              <>
                <p>
                  {version} gets all traffic at once, and the experiment concludes. It keeps routing to {version} until
                  it is deleted.
                </p>
                <p>
                  {wins
                    ? `Evidence names ${version} the winner.`
                    : `Evidence does not name ${version} the winner: ${assessed?.why ?? 'nothing has settled yet.'}${believed !== null ? ` It is believed to be the best that keeps its limits with ${probability(believed)}.` : ''} No error bound holds for this decision: it is yours.`}
                </p>
              </>
            ),
            danger: !wins,
            verb: `Promote ${version}`,
            run: order({ command: 'promote', version }),
          })
        }
      >
        Promote …
      </button>
    </section>
  )
}

export function RollBack({ experiment, open, order }: Part): JSX.Element {
  const { baseline } = experiment.experiment
  const named = experiment.weights.map(({ version }, at) => ({ version, at }))
  const able = named.filter(({ at }) => at !== baseline && !experiment.state.out[at]).map(({ version }) => version)
  const [chosen, setChosen] = useState<string | null>(null)
  const version = chosen !== null && (chosen === '' || able.includes(chosen)) ? chosen : (able[0] ?? '')
  const base = versionName(experiment, baseline)
  const share = experiment.weights.find((entry) => entry.version === version)?.weight ?? 0
  const last = version === '' || able.length <= 1
  return (
    <section class="card" aria-labelledby="roll-back">
      <h2 id="roll-back">Roll back</h2>
      <Choice
        experiment={experiment}
        label="Version to roll back"
        of={able}
        value={version}
        set={setChosen}
        all={able.length > 1}
      />
      <button
        type="button"
        class="danger"
        disabled={able.length === 0}
        onClick={() =>
          open({
            title: version ? `Roll back ${version}?` : 'Roll back every candidate?',
            consequence: (
              <p>
                {version
                  ? `${version} gets no more traffic at once, and never again in this experiment: its ${weight(share)} go to the others.`
                  : 'No candidate gets traffic any more.'}
                {last ? ` No candidate is left then, so the experiment concludes with all traffic on ${base}.` : ''}
              </p>
            ),
            danger: true,
            verb: version ? `Roll back ${version}` : 'Roll back all',
            run: order(version ? { command: 'rollBack', version } : { command: 'rollBack' }),
          })
        }
      >
        Roll back …
      </button>
    </section>
  )
}
