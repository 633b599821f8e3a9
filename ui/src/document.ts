// The document that the form writes. What is left as it is by default is left out, so that it reads as a person would write it.

import { Document, isMap, isSeq, parse, visit } from 'yaml'

export interface VersionForm {
  name: string
}
export interface LimitForm {
  kind: 'errorMax' | 'latencyMax' | 'errorRatio' | 'latencyRatio'
  name: string
  value: string
  quantile: string
}
export interface Form {
  name: string
  service: string
  hosts: string
  path: string
  unit: 'request' | 'header' | 'cookie'
  unitName: string
  versions: VersionForm[]
  baseline: number
  strategy: 'default' | 'canary' | 'bandit' | 'ab'
  steps: string
  limits: LimitForm[]
  reward: 'none' | 'header'
  rewardHeader: string
  rewardKind: 'binary' | 'real'
  rewardDirection: 'maximize' | 'minimize'
  alpha: string
  deadline: string
  bin: string
  minExposures: string
  maxDuration: string
  onTimeout: 'rollBack' | 'pause'
  approvals: { start: boolean; step: boolean; promotion: boolean }
}

export const EMPTY: Form = {
  name: 'checkout',
  service: 'checkout',
  hosts: 'shop.example',
  path: '',
  unit: 'request',
  unitName: '',
  versions: [{ name: 'v1' }, { name: 'v2' }],
  baseline: 0,
  strategy: 'default',
  steps: '',
  limits: [{ kind: 'errorMax', name: 'errors', value: '2%', quantile: '99%' }],
  reward: 'none',
  rewardHeader: 'x-weir-reward',
  rewardKind: 'binary',
  rewardDirection: 'maximize',
  alpha: '',
  deadline: '',
  bin: '',
  minExposures: '',
  maxDuration: '',
  onTimeout: 'rollBack',
  approvals: { start: false, step: false, promotion: false },
}

/** The form as it begins, with a name and a host that nobody has: it is valid as it opens. */
export function free(names: string[], hosts: string[]): Form {
  let name = EMPTY.name
  for (let at = 2; names.includes(name); at += 1) name = `${EMPTY.name}-${at}`
  const host = hosts.includes(EMPTY.hosts) ? `${name}.example` : EMPTY.hosts
  return { ...EMPTY, name, hosts: host }
}

/** A number where it is one: `0.05` and `200` are, `2%` and `15s` are not. */
const value = (text: string): string | number => (/^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : text.trim())
const words = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean)

function limit({ kind, name, value: max, quantile }: LimitForm): object {
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

const isObjective = ({ kind }: LimitForm): boolean => kind === 'errorMax' || kind === 'latencyMax'

export function spec(form: Form): Record<string, unknown> {
  const spec: Record<string, unknown> = { service: form.service }
  const match: Record<string, unknown> = {}
  if (words(form.hosts).length) match.hosts = words(form.hosts)
  if (form.path.trim()) match.paths = [{ prefix: form.path.trim() }]
  if (Object.keys(match).length) spec.match = match
  if (form.unit !== 'request') spec.unit = { [form.unit]: form.unitName.trim() }
  spec.versions = form.versions.map(({ name }, at) => (at === form.baseline ? { name, baseline: true } : { name }))
  if (form.strategy === 'canary')
    spec.strategy = words(form.steps).length ? { canary: { steps: words(form.steps).map(value) } } : 'canary'
  else if (form.strategy !== 'default') spec.strategy = form.strategy
  const objectives = form.limits.filter(isObjective)
  const guardrails = form.limits.filter((one) => !isObjective(one))
  if (objectives.length) spec.objectives = objectives.map(limit)
  if (guardrails.length) spec.guardrails = guardrails.map(limit)
  if (form.reward === 'header') {
    spec.reward = {
      responseHeader: form.rewardHeader.trim(),
      ...(form.rewardKind === 'real' ? { kind: 'real' } : {}),
      direction: form.rewardDirection,
    }
  }
  for (const name of ['alpha', 'deadline', 'bin', 'minExposures', 'maxDuration'] as const) {
    if (form[name].trim()) spec[name] = value(form[name])
  }
  if (form.onTimeout === 'pause') spec.onTimeout = 'pause'
  const approvals = Object.fromEntries(Object.entries(form.approvals).filter(([, wanted]) => wanted))
  if (Object.keys(approvals).length) spec.approvals = approvals
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
  return text({ apiVersion: 'weir.dev/v1alpha1', kind: 'Experiment', metadata: { name: form.name }, spec: spec(form) })
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
