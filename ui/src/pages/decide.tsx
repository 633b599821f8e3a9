// Let me decide: what a person may do with an experiment, each with a confirmation that names what follows.

import type { JSX } from 'preact'
import { useState } from 'preact/hooks'
import { paths, send, useLive } from '../api'
import { Failure, Loading } from '../parts/common'
import { Confirm } from '../parts/confirm'
import type { Action } from '../parts/confirm'
import type { Part } from '../parts/decision'
import { Header } from '../parts/header'
import { Approve, Delete, Pause, Resume, Start, Stop } from '../parts/life'
import { Promote, RollBack, SetWeights } from '../parts/traffic'
import { VersionTable } from '../parts/versions'
import type { Decision, Experiment, Explanation } from '../types'

export function Decide({ name }: { name: string }): JSX.Element {
  const live = useLive<Experiment>(paths.experiment(name), 2_000)
  const { data: told } = useLive<Explanation>(live.data ? paths.explanation(name) : null, 5_000)
  const [action, setAction] = useState<Action | null>(null)
  const [done, setDone] = useState('')
  const experiment = live.data
  if (!experiment)
    return (
      <>
        <h1 tabIndex={-1}>Decide: {name}</h1>
        {live.error ? <Failure error={live.error} what="The experiment cannot be read." /> : <Loading what={name} />}
      </>
    )
  const order =
    (command: object) =>
    async (reason: string): Promise<void> => {
      const decision = await send<Decision>('POST', paths.commands(name), { ...command, reason })
      setDone(decision.reasons.join(' '))
      live.refresh()
    }
  const part: Part = {
    experiment,
    open: (next) => {
      setDone('')
      setAction(next)
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
