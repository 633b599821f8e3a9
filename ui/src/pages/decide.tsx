// Let me decide: what a person may do with an experiment, each with a confirmation that names what follows.

import type { JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import { paths, send, useLive } from '../api'
import { list, probability, weight } from '../format'
import { Dot, Failure, Loading, versionName } from '../parts/common'
import { Confirm } from '../parts/confirm'
import type { Action } from '../parts/confirm'
import { Header } from '../parts/header'
import { WHOLE, rebalance } from '../parts/sliders'
import { VersionTable } from '../parts/versions'
import type { Decision, Experiment, Explanation } from '../types'

type Open = (action: Action) => void
interface Part { experiment: Experiment, open: Open, order: (command: object) => (reason: string) => Promise<void> }

const shares = (experiment: Experiment, weights: number[]): string => list(weights.map((share, at) => `${versionName(experiment, at)} ${weight(share)}`))

export function Decide({ name }: { name: string }): JSX.Element {
  const live = useLive<Experiment>(paths.experiment(name), 2_000)
  const { data: told } = useLive<Explanation>(live.data ? paths.explanation(name) : null, 5_000)
  const [action, setAction] = useState<Action | null>(null)
  const [done, setDone] = useState('')
  const experiment = live.data
  if (!experiment) return <><h1 tabIndex={-1}>Decide: {name}</h1>{live.error ? <Failure error={live.error} what="The experiment cannot be read." /> : <Loading what={name} />}</>
  const order = (command: object) => async (reason: string): Promise<void> => {
    const decision = await send<Decision>('POST', paths.commands(name), { ...command, reason })
    setDone(decision.reasons.join(' '))
    live.refresh()
  }
  const part: Part = { experiment, open: (next) => { setDone(''); setAction(next) }, order }
  const phase = experiment.state.phase.phase
  const counts = phase === 'running' || phase === 'paused'
  return (
    <>
      <Header experiment={experiment} page="decide" told={told} />
      {live.error && <Failure error={live.error} what="What is shown is not the latest." />}
      <div role="status">{done && <div class="notice good"><p><strong>Done.</strong> {done}</p></div>}</div>
      <VersionTable experiment={experiment} />
      <div class="decisions">
        {experiment.state.awaited && <Approve {...part} />}
        {phase === 'pending' && <Start {...part} />}
        {phase === 'running' && <Pause {...part} />}
        {phase === 'paused' && <Resume {...part} />}
        {counts && <SetWeights {...part} />}
        {counts && <Promote {...part} />}
        {counts && <RollBack {...part} />}
        {phase !== 'concluded' && <Stop {...part} />}
        <Delete {...part} />
      </div>
      {action && <Confirm action={action} close={() => setAction(null)} />}
    </>
  )
}

function Approve({ experiment, open, order }: Part): JSX.Element | null {
  const awaited = experiment.state.awaited
  if (!awaited) return null
  const { step, since } = awaited
  const what = 'promotion' in step
    ? `${versionName(experiment, step.promotion.version)} is promoted: it gets all traffic at once, and the experiment concludes.`
    : `Weights become ${shares(experiment, step.weights.weights)} at once; now they are ${shares(experiment, experiment.weights.map(({ weight }) => weight))}.`
  return (
    <section class="card wait" aria-labelledby="approve">
      <h2 id="approve">Approve</h2>
      <p>{what}</p>
      <button type="button" class="primary" onClick={() => open({
        title: `Approve what waits for ${experiment.name}?`,
        consequence: <p>{what} It is refused if something else waits by then, or if evidence no longer warrants it.</p>,
        verb: 'Approve', run: order({ command: 'approve', awaitedSince: since }),
      })}>Approve …</button>
    </section>
  )
}

function Start({ experiment, open, order }: Part): JSX.Element {
  return (
    <section class="card wait" aria-labelledby="start">
      <h2 id="start">Start</h2>
      <p>It waits: all traffic goes to {versionName(experiment, experiment.experiment.baseline)}, nothing is counted.</p>
      <button type="button" class="primary" onClick={() => open({
        title: `Start ${experiment.name}?`,
        consequence: <p>Traffic that matches is split at once, and counted: {shares(experiment, experiment.state.epochs.at(-1)?.weights ?? [])}.</p>,
        verb: 'Start', run: order({ command: 'start' }),
      })}>Start …</button>
    </section>
  )
}

function Pause({ experiment, open, order }: Part): JSX.Element {
  return (
    <section class="card" aria-labelledby="pause">
      <h2 id="pause">Pause</h2>
      <p>Weights stay as they are until it is resumed.</p>
      <button type="button" onClick={() => open({
        title: `Pause ${experiment.name}?`,
        consequence: <p>Weights stay at {shares(experiment, experiment.weights.map(({ weight }) => weight))}. Counting goes on; nobody is promoted, no time runs out, and the breaker rests. Only evidence of a violation still moves traffic: it rolls back.</p>,
        verb: 'Pause', run: order({ command: 'pause' }),
      })}>Pause …</button>
    </section>
  )
}

function Resume({ experiment, open, order }: Part): JSX.Element {
  const { strategy } = experiment.experiment
  const then = strategy.canary ? 'The canary goes back to the weights of its rung' : strategy.ab ? 'The test goes back to its split' : 'Weights move on from where they are'
  return (
    <section class="card wait" aria-labelledby="resume">
      <h2 id="resume">Resume</h2>
      <p>{then}.</p>
      <button type="button" class="primary" onClick={() => open({
        title: `Resume ${experiment.name}?`,
        consequence: <p>{then}, and it decides by itself again.</p>,
        verb: 'Resume', run: order({ command: 'resume' }),
      })}>Resume …</button>
    </section>
  )
}

function SetWeights({ experiment, open, order }: Part): JSX.Element {
  const now = experiment.weights.map(({ weight }) => weight)
  const [weights, setWeights] = useState(now)
  const [touched, setTouched] = useState(false)
  const { baseline } = experiment.experiment
  const fixed = experiment.state.out.map((out, at) => out && at !== baseline)
  const known = now.join()
  useEffect(() => { if (!touched) setWeights(now) }, [known, touched])
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
          <label for={`weight-${at}`}><Dot version={at} />{version}{fixed[at] ? ' (out: gets no weight again)' : ''}</label>
          <input id={`weight-${at}`} type="range" min={0} max={WHOLE} step={100} value={weights[at]} disabled={fixed[at]} class={`v${at % 8}`}
            aria-valuetext={weight(weights[at] ?? 0)} onInput={(event) => move(at, Number(event.currentTarget.value))} />
          <span class="exact"><input type="number" aria-label={`Weight of ${version} in percent`} min={0} max={100} step={0.01} disabled={fixed[at]}
            value={(weights[at] ?? 0) / 100} onChange={(event) => move(at, Math.round(Number(event.currentTarget.value) * 100))} /> %</span>
        </div>
      ))}
      <p>Together <output><strong>{weight(sum)}</strong></output></p>
      <div class="buttons">
        {touched && <button type="button" onClick={() => setTouched(false)}>As it is now</button>}
        <button type="button" disabled={!touched || sum !== WHOLE} onClick={() => open({
          title: `Set the weights of ${experiment.name}?`,
          consequence: <p>Traffic goes {shares(experiment, weights)} at once, and the experiment is paused with that until somebody resumes it. Counting goes on; only evidence of a violation still moves traffic.</p>,
          verb: 'Set weights', run: async (reason) => { await order({ command: 'setWeights', weights: wanted })(reason); setTouched(false) },
        })}>Set weights …</button>
      </div>
    </section>
  )
}

function Choice({ experiment, value, set, of, label, all }: { experiment: Experiment, value: string, set: (value: string) => void, of: string[], label: string, all?: boolean }): JSX.Element {
  return (
    <label>{label}
      <select value={value} onChange={(event) => set(event.currentTarget.value)}>
        {of.map((version) => <option key={version} value={version}>{version}{version === versionName(experiment, experiment.experiment.baseline) ? ' (baseline)' : ''}</option>)}
        {all && <option value="">every candidate</option>}
      </select>
    </label>
  )
}

function Promote({ experiment, open, order }: Part): JSX.Element {
  const { baseline } = experiment.experiment
  const able = experiment.weights.map(({ version }) => version).filter((_, at) => at === baseline || !experiment.state.out[at])
  const [chosen, setChosen] = useState('')
  const best = experiment.assessment?.winner ?? able.find((version) => version !== versionName(experiment, baseline)) ?? able[0] ?? ''
  const version = able.includes(chosen) ? chosen : best
  const assessed = experiment.assessment?.versions.find(({ name }) => name === version)
  const wins = experiment.assessment?.winner === version
  return (
    <section class="card" aria-labelledby="promote">
      <h2 id="promote">Promote</h2>
      <Choice experiment={experiment} label="Version to promote" of={able} value={version} set={setChosen} />
      <button type="button" onClick={() => open({
        title: `Promote ${version}?`,
        consequence: <>
          <p>{version} gets all traffic at once, and the experiment concludes. It keeps routing to {version} until it is deleted.</p>
          <p>{wins ? `Evidence names ${version} the winner.`
            : `Evidence does not name ${version} the winner: ${assessed?.why ?? 'nothing has settled yet.'}${assessed?.probabilityBestAndFeasible != null ? ` It is believed to be the best that keeps its limits with ${probability(assessed.probabilityBestAndFeasible)}.` : ''} No error bound holds for this decision: it is yours.`}</p>
        </>,
        danger: !wins, verb: `Promote ${version}`, run: order({ command: 'promote', version }),
      })}>Promote …</button>
    </section>
  )
}

function RollBack({ experiment, open, order }: Part): JSX.Element {
  const { baseline } = experiment.experiment
  const named = experiment.weights.map(({ version }, at) => ({ version, at }))
  const able = named.filter(({ at }) => at !== baseline && !experiment.state.out[at]).map(({ version }) => version)
  const [chosen, setChosen] = useState<string | null>(null)
  const version = chosen !== null && (chosen === '' || able.includes(chosen)) ? chosen : able[0] ?? ''
  const base = versionName(experiment, baseline)
  const share = experiment.weights.find((entry) => entry.version === version)?.weight ?? 0
  const last = version === '' || able.length <= 1
  return (
    <section class="card" aria-labelledby="roll-back">
      <h2 id="roll-back">Roll back</h2>
      <Choice experiment={experiment} label="Version to roll back" of={able} value={version} set={setChosen} all={able.length > 1} />
      <button type="button" class="danger" disabled={able.length === 0} onClick={() => open({
        title: version ? `Roll back ${version}?` : 'Roll back every candidate?',
        consequence: <p>{version ? `${version} gets no more traffic at once, and never again in this experiment: its ${weight(share)} go to the others.` : 'No candidate gets traffic any more.'}{last ? ` No candidate is left then, so the experiment concludes with all traffic on ${base}.` : ''}</p>,
        danger: true, verb: version ? `Roll back ${version}` : 'Roll back all', run: order(version ? { command: 'rollBack', version } : { command: 'rollBack' }),
      })}>Roll back …</button>
    </section>
  )
}

function Stop({ experiment, open, order }: Part): JSX.Element {
  const base = versionName(experiment, experiment.experiment.baseline)
  return (
    <section class="card" aria-labelledby="stop">
      <h2 id="stop">Stop</h2>
      <p>Ends it without an outcome, on {base}.</p>
      <button type="button" class="danger" onClick={() => open({
        title: `Stop ${experiment.name}?`,
        consequence: <p>The experiment concludes without an outcome, and all traffic goes to {base} at once. It cannot go on later: what was counted stays, a new experiment begins anew.</p>,
        danger: true, verb: 'Stop', run: order({ command: 'stop' }),
      })}>Stop …</button>
    </section>
  )
}

function Delete({ experiment, open }: Part): JSX.Element {
  const base = versionName(experiment, experiment.experiment.baseline)
  const { phase } = experiment.state
  const goes = phase.phase === 'concluded' ? versionName(experiment, phase.version) : null
  return (
    <section class="card" aria-labelledby="delete">
      <h2 id="delete">Delete</h2>
      <p>Its requests go back to what the routes do without a filter: {base}.</p>
      <button type="button" class="danger" onClick={() => open({
        title: `Delete ${experiment.name}?`,
        consequence: <p>{goes && goes !== base ? `Requests that now go to ${goes} go back to ${base}, unless the routes send them to ${goes} by now.` : `Its requests go to ${base} at once.`} The experiment is gone from the list; its journal is kept for 90 days.</p>,
        danger: true, verb: 'Delete',
        run: async (reason) => {
          await send('DELETE', `${paths.experiment(experiment.name)}?reason=${encodeURIComponent(reason)}`)
          location.hash = '#/'
        },
      })}>Delete …</button>
    </section>
  )
}
