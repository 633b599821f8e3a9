// The form of an experiment. Each field shows what the server says of its place in the document.

import type { JSX } from 'preact'
import type { Detail } from '../api'
import type { Form, LimitForm } from '../document'
import { Select, Text, at } from './field'

const LIMITS: [LimitForm['kind'], string][] = [
  ['errorMax', 'error rate, at most'],
  ['latencyMax', 'latency, a quantile at most'],
  ['errorRatio', 'errors, no worse than the baseline'],
  ['latencyRatio', 'latency, no worse than the baseline'],
]
const BEGIN: Record<LimitForm['kind'], string> = {
  errorMax: '2%',
  latencyMax: '400ms',
  errorRatio: '0.5%',
  latencyRatio: '1.25',
}
const LABEL: Record<LimitForm['kind'], string> = {
  errorMax: 'At most',
  latencyMax: 'At most',
  errorRatio: 'Margin (0.5%) or ratio (1.5)',
  latencyRatio: 'Ratio',
}

export function ExperimentForm({
  form,
  set,
  problems,
}: {
  form: Form
  set: (form: Form) => void
  problems: Detail[]
}): JSX.Element {
  const put = (part: Partial<Form>): void => set({ ...form, ...part })
  const limits = (change: (limits: LimitForm[]) => LimitForm[]): void => put({ limits: change(form.limits) })
  const isObjective = (kind: LimitForm['kind']): boolean => kind === 'errorMax' || kind === 'latencyMax'
  const pathOf = (index: number): string => {
    const kind = form.limits[index]?.kind ?? 'errorMax'
    const before = form.limits.slice(0, index).filter((one) => isObjective(one.kind) === isObjective(kind)).length
    return `spec.${isObjective(kind) ? 'objectives' : 'guardrails'}[${before}]`
  }
  return (
    <form class="form" onSubmit={(event) => event.preventDefault()} aria-label="The experiment">
      <fieldset>
        <legend>What</legend>
        <Text
          label="Name"
          value={form.name}
          set={(name) => put({ name })}
          problems={at(problems, 'metadata')}
          hint="Lower-case letters, digits and dashes"
        />
        <Text
          label="Service"
          value={form.service}
          set={(service) => put({ service })}
          problems={at(problems, 'spec.service')}
          hint="Groups experiments for people; routes nothing"
        />
        <Text
          label="Hosts"
          value={form.hosts}
          set={(hosts) => put({ hosts })}
          problems={at(problems, 'spec.match.hosts', 'spec.match')}
          hint="Which requests take part; none: every host"
        />
        <Text
          label="Path"
          value={form.path}
          set={(path) => put({ path })}
          placeholder="/"
          problems={at(problems, 'spec.match.paths')}
          hint="A prefix; none: every path"
        />
        <Select
          label="What is randomised"
          value={form.unit}
          set={(unit) => put({ unit })}
          problems={at(problems, 'spec.unit')}
          options={[
            ['request', 'each request'],
            ['header', 'users, by a header'],
            ['cookie', 'users, by a cookie'],
          ]}
        />
        {form.unit !== 'request' && (
          <Text
            label={form.unit === 'header' ? 'Header' : 'Cookie'}
            value={form.unitName}
            set={(unitName) => put({ unitName })}
            problems={[]}
            hint="Whoever sends the same value stays with one version"
          />
        )}
      </fieldset>
      <fieldset>
        <legend>Versions</legend>
        {form.versions.map((version, index) => (
          <div class="row" key={index}>
            <Text
              label={`Version ${index + 1}`}
              value={version.name}
              problems={at(problems, `spec.versions[${index}]`)}
              set={(name) => put({ versions: form.versions.map((one, other) => (other === index ? { name } : one)) })}
            />
            <label class="choice">
              <input
                type="radio"
                name="baseline"
                checked={form.baseline === index}
                onChange={() => put({ baseline: index })}
              />{' '}
              Baseline: serves today
            </label>
            {form.versions.length > 2 && (
              <button
                type="button"
                aria-label={`Remove ${version.name}`}
                onClick={() =>
                  put({
                    versions: form.versions.filter((_, other) => other !== index),
                    baseline: form.baseline === index ? 0 : form.baseline - (form.baseline > index ? 1 : 0),
                  })
                }
              >
                Remove
              </button>
            )}
          </div>
        ))}
        {at(problems, 'spec.versions')
          .filter(({ path }) => !/^spec\.versions\[\d/.test(path))
          .map(({ message }) => (
            <p class="wrong" key={message}>
              {message}
            </p>
          ))}
        <button
          type="button"
          disabled={form.versions.length >= 16}
          onClick={() => put({ versions: [...form.versions, { name: `v${form.versions.length + 1}` }] })}
        >
          Add a version
        </button>
      </fieldset>
      <fieldset>
        <legend>How weights move</legend>
        <div class="row">
          <Select
            label="Strategy"
            value={form.strategy}
            set={(strategy) => put({ strategy })}
            problems={at(problems, 'spec.strategy')}
            options={[
              ['default', 'as usual: a bandit with a reward, a canary without'],
              ['canary', 'canary: a ladder, climbed by evidence'],
              ['bandit', 'bandit: traffic follows the best'],
              ['ab', 'A/B test: a fixed split'],
            ]}
          />
        </div>
        {form.strategy === 'canary' && (
          <Text
            label="Steps"
            value={form.steps}
            set={(steps) => put({ steps })}
            placeholder="1%, 5%, 25%, 50%"
            problems={[]}
            hint="Rising weights of the candidate"
          />
        )}
      </fieldset>
      <fieldset>
        <legend>Limits that a version must keep</legend>
        {form.limits.map((limit, index) => {
          const change = (part: Partial<LimitForm>): void =>
            limits((all) => all.map((one, other) => (other === index ? { ...one, ...part } : one)))
          return (
            <div class="row" key={index}>
              <Select
                label={`Limit ${index + 1}`}
                value={limit.kind}
                set={(kind) => change({ kind, value: BEGIN[kind] })}
                options={LIMITS}
                problems={[]}
              />
              <Text
                label="Its name"
                value={limit.name}
                set={(name) => change({ name })}
                problems={at(problems, `${pathOf(index)}.name`)}
              />
              {limit.kind === 'latencyMax' && (
                <Text
                  label="Quantile"
                  value={limit.quantile}
                  set={(quantile) => change({ quantile })}
                  problems={at(problems, `${pathOf(index)}.latency.quantile`)}
                />
              )}
              <Text
                label={LABEL[limit.kind]}
                value={limit.value}
                set={(value) => change({ value })}
                problems={at(problems, pathOf(index)).filter(({ path }) => !/\.(name|quantile)$/.test(path))}
              />
              <button
                type="button"
                aria-label={`Remove the limit ${limit.name}`}
                onClick={() => limits((all) => all.filter((_, other) => other !== index))}
              >
                Remove
              </button>
            </div>
          )
        })}
        {at(problems, 'spec.objectives', 'spec.guardrails')
          .filter(({ path }) => !path.includes('['))
          .map(({ message }) => (
            <p class="wrong" key={message}>
              {message}
            </p>
          ))}
        <button
          type="button"
          disabled={form.limits.length >= 16}
          onClick={() =>
            limits((all) => [
              ...all,
              {
                kind: 'latencyMax',
                name: all.some(({ name }) => name === 'latency') ? `limit-${all.length + 1}` : 'latency',
                value: '400ms',
                quantile: '99%',
              },
            ])
          }
        >
          Add a limit
        </button>
      </fieldset>
      <fieldset>
        <legend>What to gain</legend>
        <Select
          label="Reward"
          value={form.reward}
          set={(reward) => put({ reward })}
          options={[
            ['none', 'none'],
            ['header', 'a response header of the versions'],
          ]}
          problems={at(problems, 'spec.reward')}
        />
        {form.reward === 'header' && (
          <>
            <Text
              label="Header"
              value={form.rewardHeader}
              set={(rewardHeader) => put({ rewardHeader })}
              problems={[]}
              hint="Removed before the client sees it"
            />
            <Select
              label="What counts"
              value={form.rewardKind}
              set={(rewardKind) => put({ rewardKind })}
              options={[
                ['binary', 'whether there was one'],
                ['real', 'how large it was'],
              ]}
              problems={[]}
            />
            <Select
              label="Better is"
              value={form.rewardDirection}
              set={(rewardDirection) => put({ rewardDirection })}
              options={[
                ['maximize', 'more'],
                ['minimize', 'less'],
              ]}
              problems={[]}
            />
          </>
        )}
      </fieldset>
      <fieldset>
        <legend>Who approves</legend>
        <label class="choice">
          <input
            type="checkbox"
            checked={form.approvals.start}
            onChange={(event) => put({ approvals: { ...form.approvals, start: event.currentTarget.checked } })}
          />{' '}
          A person starts it
        </label>
        <label class="choice">
          <input
            type="checkbox"
            checked={form.approvals.step}
            onChange={(event) => put({ approvals: { ...form.approvals, step: event.currentTarget.checked } })}
          />{' '}
          A person approves every step of weights
        </label>
        <label class="choice">
          <input
            type="checkbox"
            checked={form.approvals.promotion}
            onChange={(event) => put({ approvals: { ...form.approvals, promotion: event.currentTarget.checked } })}
          />{' '}
          A person approves the promotion
        </label>
      </fieldset>
      <details>
        <summary>Time and error</summary>
        <fieldset>
          <legend class="unseen">Time and error</legend>
          <Text
            label="Probability of error (alpha)"
            value={form.alpha}
            set={(alpha) => put({ alpha })}
            placeholder="0.05"
            problems={at(problems, 'spec.alpha')}
          />
          <Text
            label="Deadline of a request"
            value={form.deadline}
            set={(deadline) => put({ deadline })}
            placeholder="15s"
            problems={at(problems, 'spec.deadline')}
          />
          <Text
            label="Bin"
            value={form.bin}
            set={(bin) => put({ bin })}
            placeholder="10s"
            problems={at(problems, 'spec.bin')}
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
        </fieldset>
      </details>
    </form>
  )
}
