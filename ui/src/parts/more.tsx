// What most experiments leave as it is: folded away in the form, each with its usual value beside it.

import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useState } from 'preact/hooks'
import type { Detail } from '../api'
import { placesOf, without } from '../form'
import type { Form } from '../form'
import { Select, Text, at } from './field'

export interface Part {
  form: Form
  put: (part: Partial<Form>) => void
  problems: Detail[]
}

/** Folded away until somebody unfolds it, or something in it is wrong. */
function Folded({
  title,
  wrong,
  children,
}: {
  title: string
  wrong: boolean
  children: ComponentChildren
}): JSX.Element {
  const [open, setOpen] = useState(wrong)
  useEffect(() => {
    if (wrong) setOpen(true)
  }, [wrong])
  return (
    <details open={open} onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{title}</summary>
      <fieldset>
        <legend class="unseen">{title}</legend>
        {children}
      </fieldset>
    </details>
  )
}

export function TimeAndError({ form, put, problems }: Part): JSX.Element {
  return (
    <Folded title="Time and error" wrong={at(problems, ...TIMES).length > 0}>
      <Text
        label="Probability of error (alpha)"
        value={form.alpha}
        set={(alpha) => put({ alpha })}
        placeholder="0.05"
        problems={at(problems, 'spec.alpha')}
        hint="Of a wrong roll-back, and of a wrong promotion"
      />
      <Text
        label="… of a wrong promotion, if another"
        value={form.alphaPromotion}
        set={(alphaPromotion) => put({ alphaPromotion })}
        placeholder={form.alpha || '0.05'}
        problems={at(problems, 'spec.alpha.promotion')}
      />
      <Text
        label="Deadline of a request"
        value={form.deadline}
        set={(deadline) => put({ deadline })}
        placeholder="15s"
        problems={at(problems, 'spec.deadline')}
        hint="Later is too late, whatever becomes of it"
      />
      <Text
        label="Bin"
        value={form.bin}
        set={(bin) => put({ bin })}
        placeholder="10s"
        problems={at(problems, 'spec.bin')}
        hint="Counts are kept per so much time; shorter is evidence sooner"
      />
      <Select
        label="A request is measured"
        value={form.measure}
        set={(measure) => put({ measure })}
        options={[
          ['end', 'to its end'],
          ['headers', 'to the headers of its response: streams, upgrades'],
        ]}
        problems={at(problems, 'spec.measure')}
      />
      <Text
        label="Least exposures of a winner"
        value={form.minExposures}
        set={(minExposures) => put({ minExposures })}
        placeholder="100"
        problems={at(problems, 'spec.minExposures')}
      />
      <Text
        label="Longest duration"
        value={form.maxDuration}
        set={(maxDuration) => put({ maxDuration })}
        placeholder="7d"
        problems={at(problems, 'spec.maxDuration')}
      />
      <Select
        label="When it is over without enough evidence"
        value={form.onTimeout}
        set={(onTimeout) => put({ onTimeout })}
        options={[
          ['rollBack', 'roll back'],
          ['pause', 'pause: a person decides'],
        ]}
        problems={at(problems, 'spec.onTimeout')}
      />
    </Folded>
  )
}
const TIMES = ['alpha', 'deadline', 'bin', 'measure', 'minExposures', 'maxDuration', 'onTimeout'].map(
  (field) => `spec.${field}`,
)

const REQUESTS = ['spec.match.share', 'spec.match.headers', 'spec.priority', 'spec.override', 'spec.failure']
export function WhichRequests({ form, put, problems }: Part): JSX.Element {
  return (
    <Folded title="Which requests, and which are failures" wrong={at(problems, ...REQUESTS).length > 0}>
      <Text
        label="Share of the traffic"
        value={form.share}
        set={(share) => put({ share })}
        placeholder="100%"
        problems={at(problems, 'spec.match.share')}
        hint="The rest goes to the baseline and is not counted"
      />
      <Text
        label="Only with these headers"
        value={form.headers}
        set={(headers) => put({ headers })}
        placeholder="x-tenant=acme, x-beta"
        problems={at(problems, 'spec.match.headers')}
        hint="With this value, or only there"
      />
      <Text
        label="Priority"
        value={form.priority}
        set={(priority) => put({ priority })}
        placeholder="0"
        problems={at(problems, 'spec.priority')}
        hint="Of two experiments that match a request the higher has it"
      />
      <Text
        label="Override header"
        value={form.override}
        set={(override) => put({ override })}
        placeholder="x-tester"
        problems={at(problems, 'spec.override')}
        hint="Whoever sends it with a version’s name gets that version, uncounted; none: nobody can choose"
      />
      <Text
        label="Status codes that are failures"
        value={form.failureCodes}
        set={(failureCodes) => put({ failureCodes })}
        placeholder="500-599"
        problems={at(problems, 'spec.failure.codes', 'spec.failure')}
      />
      <Text
        label="gRPC statuses that are failures"
        value={form.failureGrpc}
        set={(failureGrpc) => put({ failureGrpc })}
        placeholder="2, 4, 12, 13, 14, 15"
        problems={at(problems, 'spec.failure.grpc')}
      />
    </Folded>
  )
}

/** How each strategy moves weights. */
export function Strategy({ form, put, problems }: Part): JSX.Element | null {
  const at_ = (field: string): Detail[] => at(problems, `spec.strategy.${form.strategy}.${field}`)
  switch (form.strategy) {
    case 'canary':
      return (
        <Text
          label="Steps"
          value={form.steps}
          set={(steps) => put({ steps })}
          placeholder="1%, 5%, 25%, 50%"
          problems={at_('steps')}
          hint="Rising weights of the candidate"
        />
      )
    case 'bandit':
      return (
        <div class="row">
          <Select
            label="Traffic follows"
            value={form.rule}
            set={(rule) => put({ rule })}
            options={[
              ['thompson', 'the probability of being the best'],
              ['topTwo', 'the best and the next best: known sooner'],
              ['uniform', 'nobody: equal shares of all that are in'],
            ]}
            problems={at_('rule')}
          />
          <Text
            label="Least weight (floor)"
            value={form.floor}
            set={(floor) => put({ floor })}
            placeholder="5%"
            problems={at_('floor')}
          />
          <Text
            label="Largest step"
            value={form.maxStep}
            set={(maxStep) => put({ maxStep })}
            placeholder="20%"
            problems={at_('maxStep')}
          />
          <Text
            label="Half-life of counts"
            value={form.halfLife}
            set={(halfLife) => put({ halfLife })}
            placeholder="1d"
            problems={at_('halfLife')}
            hint="In what steers, not in evidence; or never"
          />
        </div>
      )
    case 'ab':
      return (
        <div class="row">
          {form.versions.map((version, index) => (
            <Text
              key={index}
              label={`Weight of ${version.name}`}
              value={version.weight}
              set={(weight) =>
                put({ versions: form.versions.map((one, other) => (other === index ? { ...one, weight } : one)) })
              }
              placeholder="equal"
              problems={at(problems, `spec.strategy.ab.weights.${version.name}`)}
            />
          ))}
          {at(problems, 'spec.strategy.ab')
            .filter(({ path }) => path === 'spec.strategy.ab.weights')
            .map(({ message }) => (
              <p class="wrong" key={message}>
                {message}
              </p>
            ))}
        </div>
      )
    case 'default':
      return null
  }
}

/** What the form has no field for: it is kept, and said. */
export function Kept({ form, put }: Omit<Part, 'problems'>): JSX.Element | null {
  const places = placesOf(form.rest)
  const inVersions = form.versions.flatMap(({ name, rest }) => placesOf(rest).map((place) => `${name}: ${place}`))
  const inLimits = form.limits.flatMap(({ name, rest }) => placesOf(rest).map((place) => `${name}: ${place}`))
  if (places.length + inVersions.length + inLimits.length === 0) return null
  return (
    <fieldset>
      <legend>Kept as it is in the document</legend>
      <p class="muted">
        The form has no field for these. Whatever is changed here, they stay; change them in the document.
      </p>
      <ul>
        {places.map((place) => (
          <li key={place}>
            <code>{place}</code>{' '}
            <button
              type="button"
              class="link"
              aria-label={`Remove ${place}`}
              onClick={() => put({ rest: without(form.rest, place) })}
            >
              Remove
            </button>
          </li>
        ))}
        {[...inVersions, ...inLimits].map((place) => (
          <li key={place}>
            <code>{place}</code>
          </li>
        ))}
      </ul>
    </fieldset>
  )
}
