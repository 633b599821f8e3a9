// The document that the form writes. What is left as it is by default is left out, so that it reads as a person would write it.

import { Document, isMap, isSeq, parse, visit } from 'yaml'
import { isObjective, merged, value, words } from './form'
import type { Form, LimitForm, PathKind, Rest } from './form'

function limit({ kind, name, value: max, quantile }: LimitForm): Rest {
  switch (kind) {
    case 'errorMax':
      return { name, errorRate: { max: value(max) } }
    case 'latencyMax':
      return { name, latency: { quantile: value(quantile), max: value(max) } }
    case 'errorRatio':
      return { name, errorRate: max.includes('%') ? { margin: value(max) } : { ratio: value(max) } }
    case 'latencyRatio':
      return { name, latency: { ratio: value(max) } }
  }
}

const path = (kind: PathKind, text: string): Rest => ({ [kind]: text.trim() })
/** What was typed, by the field that it is for. */
const typed = (fields: Record<string, string>): Rest =>
  Object.fromEntries(Object.entries(fields).flatMap(([name, text]) => (text.trim() ? [[name, value(text)]] : [])))
const pairs = (text: string): [string, string | undefined][] =>
  words(text).map((word) => {
    const at = word.indexOf('=')
    return at < 0 ? [word, undefined] : [word.slice(0, at), word.slice(at + 1)]
  })

function matching(form: Form): Rest {
  const match: Rest = {}
  if (words(form.hosts).length) match.hosts = words(form.hosts)
  if (form.path.trim()) match.paths = [path(form.pathKind, form.path)]
  if (words(form.headers).length)
    match.headers = pairs(form.headers).map(([name, exact]) => (exact === undefined ? { name } : { name, exact }))
  return { ...match, ...typed({ share: form.share }) }
}

function unit(form: Form): Rest {
  const name = form.unitName.trim()
  if (form.unit !== 'cookie' || !form.generate) return { [form.unit]: name }
  const generate = { ...typed({ lifetime: form.lifetime }), ...(form.plainHttp ? { secure: false } : {}) }
  return { cookie: { name, generate } }
}

function strategy(form: Form): string | Rest {
  const details: Rest = {}
  if (form.strategy === 'canary' && words(form.steps).length) details.steps = words(form.steps).map(value)
  if (form.strategy === 'bandit') {
    if (form.rule !== 'thompson') details.rule = form.rule
    Object.assign(details, typed({ floor: form.floor, maxStep: form.maxStep, halfLife: form.halfLife }))
  }
  if (form.strategy === 'ab' && form.versions.some(({ weight }) => weight.trim()))
    details.weights = Object.fromEntries(form.versions.map(({ name, weight }) => [name, value(weight)]))
  return Object.keys(details).length ? { [form.strategy]: details } : form.strategy
}

function source(form: Form): Rest {
  switch (form.reward) {
    case 'api':
      return { api: form.apiHeader.trim() ? { header: form.apiHeader.trim() } : {} }
    case 'request': {
      const request: Rest = { method: form.rewardMethod.trim(), path: path(form.rewardPathKind, form.rewardPath) }
      if (words(form.rewardStatus).length) request.status = words(form.rewardStatus).map(value)
      if (form.rewardValue.trim()) request.responseHeader = form.rewardValue.trim()
      if (form.plainHttp) request.cookie = { secure: false }
      return { request }
    }
    default:
      return { responseHeader: form.rewardHeader.trim() }
  }
}

export function spec(form: Form): Rest {
  const spec: Rest = { service: form.service }
  const match = matching(form)
  if (Object.keys(match).length) spec.match = match
  if (form.unit !== 'request') spec.unit = unit(form)
  if (form.versions.length)
    spec.versions = form.versions.map(({ name, headers, rest }, at) => {
      const routed = words(headers).length ? { headers: Object.fromEntries(pairs(headers)) } : {}
      return merged({ name, ...(at === form.baseline ? { baseline: true } : {}), ...routed }, rest)
    })
  if (form.strategy !== 'default') spec.strategy = strategy(form)
  const written = (one: LimitForm): Rest => merged(limit(one), one.rest)
  const objectives = form.limits.filter(isObjective)
  const guardrails = form.limits.filter((one) => !isObjective(one))
  if (objectives.length) spec.objectives = objectives.map(written)
  if (guardrails.length) spec.guardrails = guardrails.map(written)
  if (form.reward !== 'none') {
    spec.reward = {
      ...source(form),
      ...(form.rewardKind === 'real' ? { kind: 'real' } : {}),
      direction: form.rewardDirection,
    }
  }
  if (form.alphaPromotion.trim()) spec.alpha = typed({ rollBack: form.alpha, promotion: form.alphaPromotion })
  else Object.assign(spec, typed({ alpha: form.alpha }))
  Object.assign(spec, typed({ deadline: form.deadline, bin: form.bin }))
  if (form.measure === 'headers') spec.measure = 'headers'
  Object.assign(spec, typed({ minExposures: form.minExposures, maxDuration: form.maxDuration }))
  if (form.onTimeout === 'pause') spec.onTimeout = 'pause'
  const approvals = Object.fromEntries(Object.entries(form.approvals).filter(([, wanted]) => wanted))
  if (Object.keys(approvals).length) spec.approvals = approvals
  Object.assign(spec, typed({ priority: form.priority }))
  const failure: Rest = {}
  if (words(form.failureCodes).length) failure.codes = words(form.failureCodes).map(value)
  if (words(form.failureGrpc).length) failure.grpc = words(form.failureGrpc).map(value)
  if (Object.keys(failure).length) spec.failure = failure
  if (form.override.trim()) spec.override = { header: form.override.trim() }
  return spec
}

/** Short lists and maps on a line, as the documentation writes them. */
function text(of: object): string {
  const document = new Document(of)
  visit(document, {
    Collection(_, node, path) {
      const depth = path.filter((parent) => isMap(parent) || isSeq(parent)).length
      if (depth >= 2 && (isMap(node) || isSeq(node))) {
        const inSequence = isSeq(node) && node.items.some((item) => isMap(item))
        node.flow = !inSequence || JSON.stringify(node.toJSON()).length < 60
      }
    },
  })
  return document.toString({ lineWidth: 0, flowCollectionPadding: false })
}

export function write(form: Form): string {
  const said = {
    apiVersion: 'weir.dev/v1alpha1',
    kind: 'Experiment',
    metadata: { name: form.name },
    spec: spec(form),
  }
  return text(merged(said, form.rest))
}

export interface Behaviour {
  errors: string
  latency: string
  conversion: string
}
export interface ScenarioForm {
  traffic: string
  duration: string
  behaviours: Record<string, Behaviour>
}

/** The versions that a document names, whoever wrote it; none while it cannot be read. */
export function versionsOf(document: string): string[] {
  try {
    const read: unknown = parse(document)
    const versions = (read as { spec?: { versions?: unknown } } | null)?.spec?.versions
    return Array.isArray(versions)
      ? versions.flatMap((version: unknown) =>
          typeof (version as { name?: unknown })?.name === 'string' ? [(version as { name: string }).name] : [],
        )
      : []
  } catch {
    return []
  }
}

/** The document and the scenario that it is rehearsed in. */
export function rehearsal(document: string, scenario: ScenarioForm, rewarded: boolean): string {
  const versions = Object.fromEntries(
    Object.entries(scenario.behaviours).map(([name, { errors, latency, conversion }]) => [
      name,
      {
        errors: value(errors),
        latency: latency.trim(),
        ...(rewarded && conversion.trim() ? { conversion: value(conversion) } : {}),
      },
    ]),
  )
  const said = {
    apiVersion: 'weir.dev/v1alpha1',
    kind: 'Scenario',
    traffic: scenario.traffic.trim(),
    duration: scenario.duration.trim(),
    versions,
  }
  return `${document.trimEnd()}\n---\n${text(said)}`
}
