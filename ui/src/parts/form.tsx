// The form of an experiment. Each field shows what the server says of its place in the document.

import type { JSX } from 'preact'
import type { Detail } from '../api'
import { isObjective, version as newVersion } from '../form'
import type { Form, LimitForm } from '../form'
import { Select, Text, at } from './field'
import { Goal, PlainHttp } from './goal'
import { Kept, Strategy, TimeAndError, WhichRequests } from './more'

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
  const part = { form, put, problems }
  const pathOf = (index: number): string => {
    const limit = form.limits[index]
    const objective = limit === undefined || isObjective(limit)
    const before = form.limits.slice(0, index).filter((one) => isObjective(one) === objective).length
    return `spec.${objective ? 'objectives' : 'guardrails'}[${before}]`
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
          hint="None: every path"
        />
        {form.path.trim() && (
          <Select
            label="Paths"
            value={form.pathKind}
            set={(pathKind) => put({ pathKind })}
            options={[
              ['prefix', 'that begin with it'],
              ['exact', 'that are just it'],
            ]}
            problems={[]}
          />
        )}
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
            problems={at(problems, `spec.unit.${form.unit}`)}
            hint="Whoever sends the same value stays with one version"
          />
        )}
        {form.unit === 'cookie' && (
          <label class="choice">
            <input
              type="checkbox"
              checked={form.generate}
              onChange={(event) =>
                put({ generate: event.currentTarget.checked, unitName: form.unitName.trim() || 'weir-uid' })
              }
            />{' '}
            Whoever has no such cookie is given one
          </label>
        )}
        {form.unit === 'cookie' && form.generate && (
          <>
            <Text
              label="It lasts"
              value={form.lifetime}
              set={(lifetime) => put({ lifetime })}
              placeholder="30d"
              problems={at(problems, 'spec.unit.cookie.generate.lifetime')}
            />
            {form.reward !== 'request' && <PlainHttp {...part} />}
          </>
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
              set={(name) =>
                put({ versions: form.versions.map((one, other) => (other === index ? { ...one, name } : one)) })
              }
            />
            <Text
              label="Its request headers"
              value={version.headers}
              placeholder={`x-weir-version=${version.name}`}
              problems={[]}
              set={(headers) =>
                put({ versions: form.versions.map((one, other) => (other === index ? { ...one, headers } : one)) })
              }
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
          onClick={() => put({ versions: [...form.versions, newVersion(`v${form.versions.length + 1}`)] })}
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
            problems={at(problems, 'spec.strategy').filter(
              ({ path }) => form.strategy === 'default' || !path.startsWith(`spec.strategy.${form.strategy}.`),
            )}
            options={[
              ['default', 'as usual: a bandit with a reward, a canary without'],
              ['canary', 'canary: a ladder, climbed by evidence'],
              ['bandit', 'bandit: traffic follows the best'],
              ['ab', 'A/B test: a fixed split'],
            ]}
          />
        </div>
        <Strategy {...part} />
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
                set={(kind) => change({ kind, value: BEGIN[kind], rest: {} })}
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
                rest: {},
              },
            ])
          }
        >
          Add a limit
        </button>
      </fieldset>
      <Goal {...part} />
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
      <TimeAndError {...part} />
      <WhichRequests {...part} />
      <Kept {...part} />
    </form>
  )
}
