// A document as the form: the other way round of `write`. What the form does not show is kept beside it and written again, and a document of
// which anything would be lost is none for the form.

import { parseAllDocuments } from 'yaml'
import { write } from './document'
import { EMPTY, isMap, value } from './form'
import type { Form, LimitForm, PathKind, Rest, VersionForm } from './form'

type Accept<T> = (it: unknown) => T | undefined

/** Takes out of a part of a document what the form shows; the others stay. */
class Taker {
  constructor(readonly rest: Rest) {}

  look(...path: string[]): unknown {
    return path.reduce<unknown>((part, key) => (isMap(part) ? part[key] : undefined), this.rest)
  }

  /** What is there, if it can be shown: then it is gone, and maps that nothing is left in with it. */
  take<T>(accept: Accept<T>, ...path: string[]): T | undefined {
    const taken = accept(this.look(...path))
    if (taken === undefined) return undefined
    for (let length = path.length; length > 0; length -= 1) {
      const parent = this.look(...path.slice(0, length - 1))
      const key = path[length - 1] ?? ''
      if (!isMap(parent) || (length < path.length && Object.keys(parent[key] as Rest).length > 0)) break
      delete parent[key]
    }
    return taken
  }
}

const name: Accept<string> = (it) => (typeof it === 'string' && it === it.trim() && it ? it : undefined)
/** One that has no space or comma, of which a list is typed. */
const word: Accept<string> = (it) => (typeof it === 'string' && /^[^\s,]+$/.test(it) ? it : undefined)
/** What is typed as it is written, a number or not. */
const plain: Accept<string> = (it) => {
  const text = typeof it === 'number' || typeof it === 'string' ? String(it) : ''
  return text && value(text) === it ? text : undefined
}
const one =
  <T>(...of: T[]): Accept<T> =>
  (it) =>
    of.find((each) => each === it)
const empty: Accept<true> = (it) => (isMap(it) && Object.keys(it).length === 0 ? true : undefined)
const listOf =
  (item: Accept<string>, separator: string): Accept<string> =>
  (it) => {
    if (!Array.isArray(it) || it.length === 0) return undefined
    const texts = it.map((each: unknown) => word(item(each)))
    return texts.includes(undefined) ? undefined : texts.join(separator)
  }
const header: Accept<string> = (it) => {
  if (!isMap(it) || Object.keys(it).some((key) => key !== 'name' && key !== 'exact')) return undefined
  const [named, exact] = [word(it.name), it.exact === undefined ? '' : word(it.exact)]
  if (named === undefined || named.includes('=') || exact === undefined) return undefined
  return exact ? `${named}=${exact}` : named
}
const routing: Accept<string> = (it) =>
  isMap(it) ? listOf(header, ' ')(Object.entries(it).map(([name, exact]) => ({ name, exact }))) : undefined
const place: Accept<[PathKind, string]> = (it) => {
  if (!isMap(it) || Object.keys(it).length !== 1) return undefined
  const kind = one<PathKind>('prefix', 'exact')(Object.keys(it)[0])
  const text = kind && name(it[kind])
  return kind && text !== undefined ? [kind, text] : undefined
}

function versions(it: unknown): { versions: VersionForm[]; baseline: number } | undefined {
  if (!Array.isArray(it)) return undefined
  const read = it.map((each: unknown) => {
    const of = new Taker(isMap(each) ? each : {})
    const version: VersionForm = {
      name: of.take(name, 'name') ?? '',
      headers: of.take(routing, 'headers') ?? '',
      weight: '',
      rest: of.rest,
    }
    return { version, baseline: of.take(one(true), 'baseline') === true }
  })
  const baselines = read.filter(({ baseline }) => baseline).length
  if (baselines !== 1 || read.some(({ version }) => !version.name)) return undefined
  return {
    versions: read.map(({ version }) => version),
    baseline: read.findIndex(({ baseline }) => baseline),
  }
}

function limits(relative: boolean): Accept<LimitForm[]> {
  return (it) => {
    if (!Array.isArray(it)) return undefined
    const read = it.map((each: unknown): LimitForm | undefined => {
      const of = new Taker(isMap(each) ? each : {})
      const said = of.take(name, 'name')
      const quantile = of.take(plain, 'latency', 'quantile') ?? ''
      const [errors, latency] = relative
        ? [
            of.take(plain, 'errorRate', 'margin') ?? of.take(plain, 'errorRate', 'ratio'),
            of.take(plain, 'latency', 'ratio'),
          ]
        : [of.take(plain, 'errorRate', 'max'), of.take(plain, 'latency', 'max')]
      const max = errors ?? latency
      if (said === undefined || max === undefined) return undefined
      const of_errors = errors !== undefined
      const kind = relative ? (of_errors ? 'errorRatio' : 'latencyRatio') : of_errors ? 'errorMax' : 'latencyMax'
      return { kind, name: said, value: max, quantile: quantile || '99%', rest: of.rest }
    })
    return read.includes(undefined) ? undefined : (read as LimitForm[])
  }
}

/** The form of a document; null if it cannot show it whole. */
export function read(text: string): Form | null {
  let said: unknown
  try {
    const documents = parseAllDocuments(text)
    if (documents.length !== 1 || documents[0]?.errors.length) return null
    said = documents[0]?.toJSON()
  } catch {
    return null
  }
  if (!isMap(said)) return null
  const form = taken(new Taker(structuredClone(said)))
  try {
    const again: unknown = parseAllDocuments(write(form))[0]?.toJSON()
    return canonical(again) === canonical(said) ? form : null
  } catch {
    return null
  }
}

function taken(of: Taker): Form {
  const text = (field: string): string => of.take(plain, 'spec', field) ?? ''
  of.take(one('weir.dev/v1alpha1'), 'apiVersion')
  of.take(one('Experiment'), 'kind')
  const form: Form = { ...EMPTY, approvals: { ...EMPTY.approvals }, versions: [], rest: of.rest }
  form.name = of.take(name, 'metadata', 'name') ?? ''
  form.service = of.take(name, 'spec', 'service') ?? ''
  form.hosts = of.take(listOf(word, ', '), 'spec', 'match', 'hosts') ?? ''
  const onePath: Accept<[PathKind, string]> = (it) => (Array.isArray(it) && it.length === 1 ? place(it[0]) : undefined)
  ;[form.pathKind, form.path] = of.take(onePath, 'spec', 'match', 'paths') ?? ['prefix', '']
  form.headers = of.take(listOf(header, ', '), 'spec', 'match', 'headers') ?? ''
  form.share = of.take(plain, 'spec', 'match', 'share') ?? ''
  Object.assign(form, of.take(versions, 'spec', 'versions'))
  takeUnit(of, form)
  takeStrategy(of, form)
  form.limits = [
    ...(of.take(limits(false), 'spec', 'objectives') ?? []),
    ...(of.take(limits(true), 'spec', 'guardrails') ?? []),
  ]
  takeReward(of, form)
  form.alpha = of.take(plain, 'spec', 'alpha') ?? ''
  if (isMap(of.look('spec', 'alpha'))) {
    form.alphaPromotion = of.take(plain, 'spec', 'alpha', 'promotion') ?? ''
    if (form.alphaPromotion) form.alpha = of.take(plain, 'spec', 'alpha', 'rollBack') ?? ''
  }
  form.deadline = text('deadline')
  form.bin = text('bin')
  form.measure = of.take(one('headers' as const), 'spec', 'measure') ?? 'end'
  form.minExposures = text('minExposures')
  form.maxDuration = text('maxDuration')
  form.onTimeout = of.take(one('pause' as const), 'spec', 'onTimeout') ?? 'rollBack'
  for (const when of ['start', 'step', 'promotion'] as const)
    form.approvals[when] = of.take(one(true), 'spec', 'approvals', when) ?? false
  form.priority = text('priority')
  form.failureCodes = of.take(listOf(plain, ', '), 'spec', 'failure', 'codes') ?? ''
  form.failureGrpc = of.take(listOf(plain, ', '), 'spec', 'failure', 'grpc') ?? ''
  form.override = of.take(name, 'spec', 'override', 'header') ?? ''
  return form
}

function takeUnit(of: Taker, form: Form): void {
  const unit = ['spec', 'unit']
  const generated = [...unit, 'cookie', 'generate']
  // One tick in the form is for both of them.
  const plainly = [
    ...(isMap(of.look(...generated)) ? [generated] : []),
    ...(isMap(of.look('spec', 'reward', 'request')) ? [['spec', 'reward', 'request', 'cookie']] : []),
  ]
  form.plainHttp = plainly.length > 0 && plainly.every((path) => of.look(...path, 'secure') === false)
  for (const kind of ['header', 'cookie'] as const) {
    const named = of.take(name, ...unit, kind)
    if (named) Object.assign(form, { unit: kind, unitName: named })
  }
  if (!isMap(of.look(...generated))) return
  form.lifetime = of.take(plain, ...generated, 'lifetime') ?? ''
  if (form.plainHttp) of.take(one(false), ...generated, 'secure')
  of.take(empty, ...generated)
  Object.assign(form, { unit: 'cookie', generate: true, unitName: of.take(name, ...unit, 'cookie', 'name') ?? '' })
}

function takeStrategy(of: Taker, form: Form): void {
  const strategies = ['canary', 'bandit', 'ab'] as const
  const path = ['spec', 'strategy']
  const alone = of.take(one(...strategies), ...path)
  const kind = alone ?? strategies.find((kind) => isMap(of.look(...path, kind)))
  if (!kind) return
  form.strategy = kind
  form.steps = of.take(listOf(plain, ', '), ...path, 'canary', 'steps') ?? ''
  form.rule = of.take(one('topTwo' as const, 'uniform' as const), ...path, 'bandit', 'rule') ?? 'thompson'
  for (const field of ['floor', 'maxStep', 'halfLife'] as const)
    form[field] = of.take(plain, ...path, 'bandit', field) ?? ''
  const weights: Accept<Rest> = (it) =>
    isMap(it) &&
    Object.keys(it).length === form.versions.length &&
    form.versions.every(({ name }) => plain(it[name]) !== undefined)
      ? it
      : undefined
  const shares = of.take(weights, ...path, 'ab', 'weights')
  if (shares) form.versions = form.versions.map((each) => ({ ...each, weight: plain(shares[each.name]) ?? '' }))
  of.take(empty, ...path, kind)
}

function takeReward(of: Taker, form: Form): void {
  const reward = ['spec', 'reward']
  const request = [...reward, 'request']
  const value = of.take(name, ...reward, 'responseHeader')
  if (value) Object.assign(form, { reward: 'header', rewardHeader: value })
  else if (isMap(of.look(...reward, 'api'))) {
    form.reward = 'api'
    form.apiHeader = of.take(name, ...reward, 'api', 'header') ?? ''
    of.take(empty, ...reward, 'api')
  } else if (isMap(of.look(...request))) {
    form.reward = 'request'
    form.rewardMethod = of.take(name, ...request, 'method') ?? ''
    ;[form.rewardPathKind, form.rewardPath] = of.take(place, ...request, 'path') ?? ['exact', '']
    form.rewardStatus = of.take(listOf(plain, ', '), ...request, 'status') ?? ''
    form.rewardValue = of.take(name, ...request, 'responseHeader') ?? ''
    if (form.plainHttp) of.take(one(false), ...request, 'cookie', 'secure')
  }
  form.rewardKind = of.take(one('real' as const), ...reward, 'kind') ?? 'binary'
  form.rewardDirection = of.take(one('maximize' as const, 'minimize' as const), ...reward, 'direction') ?? 'maximize'
}

/** The same text for documents that mean the same as far as it is written: order of fields, and a strategy as a word or without details. */
function canonical(it: unknown): string {
  return JSON.stringify(it, (key, part: unknown) => {
    if (key === 'strategy' && typeof part === 'string') return { [part]: {} }
    return isMap(part) ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1))) : part
  })
}
