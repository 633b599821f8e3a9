// Let me decide: what a person may do with an experiment, each with a confirmation that names what follows.

import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { paths, send, useLive } from '../api'
import type { Live } from '../api'
import { Failure, Loading } from '../parts/common'
import { Confirm } from '../parts/confirm'
import type { Action } from '../parts/confirm'
import { shares } from '../parts/decision'
import type { Part } from '../parts/decision'
import { Header } from '../parts/header'
import { NoExperiment } from '../parts/notthere'
import { Approve, Delete, Pause, Resume, Start, Stop } from '../parts/life'
import { Promote, RollBack, SetWeights } from '../parts/traffic'
import { useWhyNot } from '../parts/who'
import { VersionTable } from '../parts/versions'
import type { Decision, Experiment, Explanation } from '../types'

/** How it stands, for whoever does not know whether what they asked for was done. */
function stands({ data, error }: Live<Experiment>): string {
  if (error?.status === 404) return `there is no experiment ${data?.name ?? ''} any more.`
  if (!data || error) return 'how it stands cannot be read; this page tries again by itself.'
  const weights = data.weights.map(({ weight }) => weight)
  return `${data.name} is ${data.phase}, with ${shares(data, weights)}.`
}

export function Decide({ name }: { name: string }): JSX.Element {
  const live = useLive<Experiment>(paths.experiment(name), 2_000)
  const { data: told, refresh: tellAnew } = useLive<Explanation>(live.data ? paths.explanation(name) : null, 5_000)
  const [action, setAction] = useState<Action | null>(null)
  const [done, setDone] = useState('')
  const whyNot = useWhyNot()
  const experiment = live.data
  if (!experiment && live.error?.status === 404) return <NoExperiment name={name} />
  if (!experiment)
    return (
      <>
        <h1 tabIndex={-1}>Decide: {name}</h1>
        {live.error ? <Failure error={live.error} what="The experiment cannot be read." /> : <Loading what={name} />}
      </>
    )
  const look = (): void => {
    live.refresh()
    tellAnew()
  }
  // No `If-Match`: whoever pauses or rolls back means it, wherever weights have moved meanwhile. What is approved is named by `awaitedSince`.
  const order =
    (command: object) =>
    async (reason: string, key: string): Promise<void> => {
      const decision = await send<Decision>('POST', paths.commands(name), { ...command, reason }, { key })
      setDone(decision.reasons.join(' '))
      look()
    }
  const part: Part = {
    experiment,
    open: (next) => {
      setDone('')
      setAction({ ...next, look })
    },
    order,
  }
  const phase = experiment.state.phase.phase
  const counts = phase === 'running' || phase === 'paused'
  return (
    <>
      <Header experiment={experiment} page="decide" told={told} />
      {live.error && <Failure error={live.error} what="What is shown is not the latest." />}
      <div role="status">
        {done && (
          <div class="notice good">
            <p>
              <strong>Done.</strong> {done}
            </p>
          </div>
        )}
      </div>
      <VersionTable experiment={experiment} />
      {whyNot && (
        <div class="notice wait" role="status" id="why-not">
          <p>{whyNot}</p>
        </div>
      )}
      <fieldset
        class="bare decisions"
        disabled={whyNot !== null}
        {...(whyNot ? { 'aria-describedby': 'why-not' } : {})}
      >
        <legend class="unseen">Decisions</legend>
        {experiment.state.awaited && <Approve {...part} />}
        {phase === 'pending' && <Start {...part} />}
        {phase === 'running' && <Pause {...part} />}
        {phase === 'paused' && <Resume {...part} />}
        {counts && <SetWeights {...part} />}
        {counts && <Promote {...part} />}
        {counts && <RollBack {...part} />}
        {phase !== 'concluded' && <Stop {...part} />}
        <Delete {...part} />
      </fieldset>
      {action && <Confirm action={action} stands={stands(live)} close={() => setAction(null)} />}
    </>
  )
}
