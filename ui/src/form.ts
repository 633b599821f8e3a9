// What the form of an experiment holds: texts as they are typed. Whatever a document has beside that is kept as it is, in `rest`.

/** A part of a document that the form does not show. */
export type Rest = Record<string, unknown>

export interface VersionForm {
  name: string
  /** Routing headers, as `x-route=loud`; none: as usual. */
  headers: string
  /** Of an A/B test; none: equal. */
  weight: string
  rest: Rest
}
export interface LimitForm {
  kind: 'errorMax' | 'latencyMax' | 'errorRatio' | 'latencyRatio'
  name: string
  value: string
  quantile: string
  rest: Rest
}
export type PathKind = 'prefix' | 'exact'
export interface Form {
  name: string
  service: string
  hosts: string
  path: string
  pathKind: PathKind
  share: string
  headers: string
  priority: string
  override: string
  unit: 'request' | 'header' | 'cookie'
  unitName: string
  /** Whether whoever has no such cookie is given one. */
  generate: boolean
  lifetime: string
  /** Reached without TLS: cookies are not `Secure`. */
  plainHttp: boolean
  versions: VersionForm[]
  baseline: number
  strategy: 'default' | 'canary' | 'bandit' | 'ab'
  steps: string
  rule: 'thompson' | 'topTwo' | 'uniform'
  floor: string
  maxStep: string
  halfLife: string
  limits: LimitForm[]
  reward: 'none' | 'header' | 'api' | 'request'
  rewardHeader: string
  apiHeader: string
  rewardMethod: string
  rewardPath: string
  rewardPathKind: PathKind
  rewardStatus: string
  rewardValue: string
  rewardKind: 'binary' | 'real'
  rewardDirection: 'maximize' | 'minimize'
  alpha: string
  /** Of a wrong promotion, where it is another than that of a roll-back. */
  alphaPromotion: string
  deadline: string
  bin: string
  measure: 'end' | 'headers'
  minExposures: string
  maxDuration: string
  onTimeout: 'rollBack' | 'pause'
  approvals: { start: boolean; step: boolean; promotion: boolean }
  failureCodes: string
  failureGrpc: string
  rest: Rest
}

export const version = (name: string): VersionForm => ({ name, headers: '', weight: '', rest: {} })

export const EMPTY: Form = {
  name: 'checkout',
  service: 'checkout',
  hosts: 'shop.example',
  path: '',
  pathKind: 'prefix',
  share: '',
  headers: '',
  priority: '',
  override: '',
  unit: 'request',
  unitName: '',
  generate: false,
  lifetime: '',
  plainHttp: false,
  versions: [version('v1'), version('v2')],
  baseline: 0,
  strategy: 'default',
  steps: '',
  rule: 'thompson',
  floor: '',
  maxStep: '',
  halfLife: '',
  limits: [{ kind: 'errorMax', name: 'errors', value: '2%', quantile: '99%', rest: {} }],
  reward: 'none',
  rewardHeader: 'x-weir-reward',
  apiHeader: '',
  rewardMethod: 'POST',
  rewardPath: '/order',
  rewardPathKind: 'exact',
  rewardStatus: '',
  rewardValue: '',
  rewardKind: 'binary',
  rewardDirection: 'maximize',
  alpha: '',
  alphaPromotion: '',
  deadline: '',
  bin: '',
  measure: 'end',
  minExposures: '',
  maxDuration: '',
  onTimeout: 'rollBack',
  approvals: { start: false, step: false, promotion: false },
  failureCodes: '',
  failureGrpc: '',
  rest: {},
}

/** The form as it begins, with a name and a host that nobody has: it is valid as it opens. */
export function free(names: string[], hosts: string[]): Form {
  let name = EMPTY.name
  for (let at = 2; names.includes(name); at += 1) name = `${EMPTY.name}-${at}`
  const host = hosts.includes(EMPTY.hosts) ? `${name}.example` : EMPTY.hosts
  return { ...EMPTY, name, hosts: host }
}

/** A number where it is one: `0.05` and `-200` are, `2%` and `15s` are not. */
export const value = (text: string): string | number =>
  /^-?\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : text.trim()
export const words = (text: string): string[] => text.split(/[\s,]+/).filter(Boolean)
export const isObjective = ({ kind }: LimitForm): boolean => kind === 'errorMax' || kind === 'latencyMax'
export const isMap = (it: unknown): it is Rest => typeof it === 'object' && it !== null && !Array.isArray(it)

/** Both together; where they disagree the first counts. */
export function merged(first: Rest, second: Rest): Rest {
  const both: Rest = { ...first }
  for (const [key, other] of Object.entries(second)) {
    const own = both[key]
    both[key] = own === undefined ? other : isMap(own) && isMap(other) ? merged(own, other) : own
  }
  return both
}

/** Where the leaves of what is not shown are: `spec.match.paths`. */
export const placesOf = (rest: Rest, before = ''): string[] =>
  Object.entries(rest).flatMap(([key, it]) =>
    isMap(it) && Object.keys(it).length > 0 ? placesOf(it, `${before}${key}.`) : [`${before}${key}`],
  )

/** The same without one of them. */
export function without(rest: Rest, place: string): Rest {
  const [key = '', ...more] = place.split('.')
  const { [key]: it, ...others } = rest
  if (more.length === 0 || !isMap(it)) return others
  const left = without(it, more.join('.'))
  return Object.keys(left).length ? { ...others, [key]: left } : others
}
