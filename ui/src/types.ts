// What the API answers, as far as it is shown. docs/api.md says what each means.

export type Phase = 'pending' | 'running' | 'paused' | 'concluded'
export type Verdict = 'notEnoughEvidence' | 'met' | 'violated'
export type MetricName = 'errorRate' | 'latencyMean' | 'latencyP50' | 'latencyP99' | 'rewardRate' | 'rewardMean'

export interface Interval {
  low?: number
  high?: number
}
export interface Comparison {
  with: string
  probabilityBetter: number | null
  lift: Interval | null
}
export interface Metric {
  name: MetricName
  direction: 'minimize' | 'maximize'
  exposures: number
  observed: number
  observedOrMore?: boolean
  belief: Interval | null
  comparisons: Comparison[]
}
export interface Gate {
  name: string
  kind: 'objective' | 'guardrail'
  limit: string
  covered: boolean
  verdict: Verdict
  logEViolated: number
  violatedAt: number
  logEMet: number
  metAt: number
  why: string
}
export interface Tally {
  assigned: number
  completed: number
  failed: number
  aborted: number
  overdue: number
  rewarded: number
}
export interface VersionAssessment {
  name: string
  baseline: boolean
  weight: number
  out: boolean
  settled: Tally
  live: Tally
  metrics: Metric[]
  probabilityBeatsBaseline: number | null
  probabilityBest: number | null
  probabilityBestAndFeasible: number | null
  probabilityFeasible: number | null
  expectedLoss: number | null
  gates: Gate[]
  logERollBack: number
  rollBackAt: number
  logEBeaten: number | null
  why: string
}
export interface Assessment {
  versions: VersionAssessment[]
  winner: string | null
  conclusion: string
  alpha: { rollBack: number; promotion: number }
  sampleRatio: { logEBroken: number; brokenAt: number; broken: boolean } | null
  settledExposures: number
  coverage: number
  warnings: string[]
}
export interface Epoch {
  epoch: number
  beganAt: number
  weights: number[]
}
export type Step = { weights: { weights: number[]; rung: number } } | { promotion: { version: number } }
export type PhaseState =
  | { phase: 'pending' | 'running' }
  | { phase: 'paused'; since: number; cause: string }
  | { phase: 'concluded'; outcome: string; version: number; at: number }
export interface State {
  phase: PhaseState
  startedAt: number
  epochs: Epoch[]
  out: boolean[]
  sampleRatioBroken: boolean
  rung: number
  awaited?: { since: number; step: Step } | null
  trips?: { version: number; at: number; open: boolean }[]
}
export interface Actor {
  who?: string
  says?: string
  from?: string
}
/** Whose token it is, and of which role; neither where there are no tokens. */
export interface Whoami {
  name?: string
  role?: 'proxy' | 'service' | 'viewer' | 'operator'
}
export interface Decision {
  number?: number
  at: number
  action: string
  reasons: string[]
  state?: State
  assessment?: Assessment | null
  ordered?: { command: unknown; reason: string; by: Actor }
}
export interface Experiment {
  name: string
  id: string
  service: string
  phase: Phase
  createdAt: number
  weights: { version: string; weight: number }[]
  experiment: {
    versions: { name: string }[]
    baseline: number
    strategy: { canary?: { steps: number[] }; bandit?: object; ab?: { weights: number[] } }
    reward: { kind: 'binary' | 'real'; direction: 'maximize' | 'minimize' } | null
    alpha: { rollBack: number; promotion: number }
    minExposures: number
    maxDurationMs: number
    matching: { hosts?: string[] }
    approvals: { start: boolean; step: boolean; promotion: boolean }
  }
  state: State
  assessment: Assessment | null
  decision: Decision | null
  lastChange: Decision | null
  health: { live: number; silent: number; newestReportMs: number | null }
  healthWarnings: string[]
  document?: string
}

export type Outlook =
  { kind: 'reached' | 'notGrowing' | 'unknown' } | { kind: 'within'; soonestMs: number; latestMs: number | null }
export interface Gap {
  version: string
  claim: { kind: string; gate?: string }
  have: number
  need: number
  outlook: Outlook
  sentence: string
}
export interface Chapter {
  number: number
  at: number
  what: string
  reasons: string[]
  by?: Actor
}
export interface Explanation {
  name: string
  at: number
  what: string[]
  stands: string[]
  story: Chapter[]
  beliefs: string[]
  evidence: string[]
  missing: Gap[]
  warnings: string[]
}

export interface Distributions {
  at: number
  versions: {
    version: string
    beliefs: { metric: MetricName; points: [number, number][] }[]
    latencies: { lowerMs: number; upperMs?: number; count: number }[]
  }[]
}

export interface Applied {
  name: string
  id: string
  result: 'created' | 'changed' | 'unchanged'
  reasons?: string[]
}

export interface Share {
  count: number
  of: number
  low: number
  high: number
}
export interface Quantiles {
  p10: number | null
  p50: number | null
  p90: number | null
}
export interface Run {
  ending: 'promoted' | 'rolledBack' | 'inconclusive' | 'undecided'
  version: number
  endedAtMs: number
  durationMs: number
  requests: number
  seed: number
  versions: {
    name: string
    baseline: boolean
    bad: boolean
    requests: number
    weight: number
    settled: Tally
    rolledBackAtMs?: number
  }[]
  metBad: number
  decisions: { atMs: number; action: string; requests: number; weights: number[]; reasons: string[] }[]
  points?: { atMs: number; requests: number; versions: { weight: number }[] }[]
  warnings?: string[]
}
export interface Rehearsal {
  run: Run
  brokenOff: boolean
  many: {
    runs: number
    endings: { ending: Run['ending']; version: string; share: Share }[]
    falseRollBack: Share | null
    badPromoted: Share | null
    missed: Share | null
    timeMs: Quantiles
    requests: Quantiles
  } | null
}
