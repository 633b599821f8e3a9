// A rehearsal: the document in virtual time, with traffic and versions as one imagines them. The simulator runs the code of production.

import type { JSX } from 'preact'
import { useRef, useState } from 'preact/hooks'
import { asApiError, send } from '../api'
import type { ApiError } from '../api'
import { WeightsChart } from '../charts/weights'
import { rehearsal } from '../document'
import type { Behaviour, ScenarioForm } from '../document'
import { count, percent, stretch, weight } from '../format'
import type { Quantiles, Rehearsal, Run, Share } from '../types'
import { Failure, Sentence, outcomeWord } from './common'

const RUNS = 50
const LIKE_TODAY: Behaviour = { errors: '0.5%', latency: '80ms', conversion: '10%' }

export function Rehearse({
  document,
  versions,
  valid,
}: {
  document: string
  versions: string[]
  valid: boolean
}): JSX.Element {
  const [scenario, setScenario] = useState<Omit<ScenarioForm, 'behaviours'>>({ traffic: '50/s', duration: '1d' })
  const [behaviours, setBehaviours] = useState<Record<string, Behaviour>>({})
  const [result, setResult] = useState<{ rehearsal: Rehearsal; of: string } | null>(null)
  const [error, setError] = useState<ApiError | null>(null)
  const [busy, setBusy] = useState(false)
  const last = useRef<AbortController>(undefined)
  const of = (version: string): Behaviour => behaviours[version] ?? LIKE_TODAY
  const rewarded = /^\s+reward:/m.test(document)
  const put = (version: string, part: Partial<Behaviour>): void =>
    setBehaviours({ ...behaviours, [version]: { ...of(version), ...part } })
  const text = rehearsal(
    document,
    { ...scenario, behaviours: Object.fromEntries(versions.map((version) => [version, of(version)])) },
    rewarded,
  )
  const run = async (event: Event): Promise<void> => {
    event.preventDefault()
    last.current?.abort()
    const controller = new AbortController()
    last.current = controller
    setBusy(true)
    setError(null)
    try {
      setResult({
        rehearsal: await send<Rehearsal>('POST', `/v1/rehearsals?runs=${RUNS}`, text, {
          signal: controller.signal,
          computes: true,
        }),
        of: text,
      })
    } catch (failure) {
      if (controller.signal.aborted) return
      setError(asApiError(failure))
      setResult(null)
    }
    setBusy(false)
  }
  return (
    <section aria-labelledby="rehearse">
      <h2 id="rehearse">Rehearse it</h2>
      <p class="muted">
        In virtual time, before a request is at stake: say what you expect of traffic and of each version. Nothing is
        applied by it.
      </p>
      <form onSubmit={(event) => void run(event)} aria-label="What to rehearse">
        <div class="row">
          <label>
            Traffic{' '}
            <input
              type="text"
              value={scenario.traffic}
              onInput={(event) => setScenario({ ...scenario, traffic: event.currentTarget.value })}
            />
          </label>
          <label>
            For at most{' '}
            <input
              type="text"
              value={scenario.duration}
              onInput={(event) => setScenario({ ...scenario, duration: event.currentTarget.value })}
            />
          </label>
        </div>
        <div class="scroll" tabIndex={0} role="region" aria-label="How versions behave">
          <table class="small inputs">
            <thead>
              <tr>
                <th scope="col">Version</th>
                <th scope="col">Errors</th>
                <th scope="col">Median latency</th>
                {rewarded && <th scope="col">Rewarded</th>}
              </tr>
            </thead>
            <tbody>
              {versions.map((version) => (
                <tr key={version}>
                  <th scope="row">{version}</th>
                  <td>
                    <input
                      type="text"
                      aria-label={`Errors of ${version}`}
                      value={of(version).errors}
                      onInput={(event) => put(version, { errors: event.currentTarget.value })}
                    />
                  </td>
                  <td>
                    <input
                      type="text"
                      aria-label={`Median latency of ${version}`}
                      value={of(version).latency}
                      onInput={(event) => put(version, { latency: event.currentTarget.value })}
                    />
                  </td>
                  {rewarded && (
                    <td>
                      <input
                        type="text"
                        aria-label={`Share of ${version} that is rewarded`}
                        value={of(version).conversion}
                        onInput={(event) => put(version, { conversion: event.currentTarget.value })}
                      />
                    </td>
                  )}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
        <button disabled={busy || !valid}>{busy ? 'Rehearsing, ten seconds at most …' : 'Rehearse'}</button>
        {!valid && <span class="hint"> The document must be valid first.</span>}
      </form>
      {error && <Failure error={error} what="It was not rehearsed." />}
      <div role="status">
        {result && <p class="unseen">{told(result.rehearsal.run, result.rehearsal.brokenOff)}</p>}
      </div>
      {result && <Result {...result.rehearsal} stale={result.of !== text} />}
    </section>
  )
}

function told(run: Run, brokenOff: boolean): string {
  const name = run.versions[run.version]?.name ?? ''
  const how = {
    promoted: `${name} was promoted`,
    rolledBack: `everything was rolled back to ${name}`,
    inconclusive: `without enough evidence; ${name} has the traffic`,
    undecided: 'it had not concluded',
  }[run.ending]
  if (brokenOff)
    return `It was broken off at ${stretch(run.endedAtMs)} of virtual time, because computing took too long: less traffic or a shorter time fits.`
  return `After ${stretch(run.endedAtMs)} and ${count(run.requests)} requests ${how}.`
}

function Result({ run, brokenOff, many, stale }: Rehearsal & { stale: boolean }): JSX.Element {
  const points = (run.points ?? [])
    .map(({ atMs, versions }) => ({ at: atMs, weights: versions.map(({ weight }) => weight) }))
    // Points are looks; what was decided at the last one comes after it.
    .concat([{ at: run.endedAtMs, weights: run.versions.map(({ weight }) => weight) }])
    .filter((point, at, all) => at === 0 || point.weights.join() !== all[at - 1]?.weights.join())
  return (
    <div class={stale ? 'result stale' : 'result'}>
      {stale && <p class="hint">Something was changed since: rehearse again.</p>}
      <p>
        <strong>One run.</strong> {told(run, brokenOff)}
        {run.metBad > 0 && ` ${count(run.metBad)} requests met a version while it broke a limit.`}
      </p>
      {points.length > 0 && (
        <WeightsChart
          names={run.versions.map(({ name }) => name)}
          points={points}
          until={run.endedAtMs * 1.04}
          title="Weights in this run"
          end="At the end"
        />
      )}
      <details>
        <summary>Its {run.decisions.length} decisions</summary>
        <ol class="log">
          {run.decisions.slice(0, 60).map((decision, at) => (
            <li key={at}>
              <p>
                <strong>{decision.action}</strong>{' '}
                <span class="muted">
                  after {stretch(decision.atMs)}: {decision.weights.map(weight).join(' / ')}
                </span>
              </p>
              {decision.reasons.map((reason) => (
                <p key={reason}>
                  <Sentence text={reason} />
                </p>
              ))}
            </li>
          ))}
        </ol>
      </details>
      {many && (
        <>
          <h3>{many.runs < RUNS ? `Of the ${many.runs} runs that there was time for` : `Of ${many.runs} runs`}</h3>
          <table class="small">
            <thead>
              <tr>
                <th scope="col">Outcome</th>
                <th scope="col">Share</th>
                <th scope="col">95% interval</th>
              </tr>
            </thead>
            <tbody>
              {many.endings.map(({ ending, version, share }) => (
                <Row
                  key={`${ending}${version}`}
                  name={
                    ending === 'promoted'
                      ? `${version} promoted`
                      : ending === 'undecided'
                        ? 'not concluded'
                        : `${outcomeWord(ending)}, ${version} has the traffic`
                  }
                  share={share}
                />
              ))}
              {many.falseRollBack && (
                <Row name="a version that keeps its limits was rolled back" share={many.falseRollBack} />
              )}
              {many.badPromoted && <Row name="a version that breaks a limit was promoted" share={many.badPromoted} />}
              {many.missed && <Row name="a version that breaks a limit was not rolled back" share={many.missed} />}
            </tbody>
          </table>
          <p>{until(many.timeMs)}</p>
        </>
      )}
    </div>
  )
}

function until({ p10, p50, p90 }: Quantiles): string {
  const by = (ms: number | null): string => (ms === null ? 'later than was simulated' : stretch(ms))
  return `Time until it concludes: a tenth of runs by ${by(p10)}, half by ${by(p50)}, nine tenths by ${by(p90)}.`
}

function Row({ name, share }: { name: string; share: Share }): JSX.Element {
  return (
    <tr>
      <th scope="row">{name}</th>
      <td>{percent(share.count / share.of)}</td>
      <td>
        {percent(share.low)} to {percent(share.high)}
      </td>
    </tr>
  )
}
