// A real controller, fed by a real Envoy with the filter in it: three versions of the demo's shop, and users. Ports are free ones; everything
// ends with the test.

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const root = process.env['WEIR_ROOT'] ?? join(process.cwd(), '..')
const PATIENCE = 20_000

const need = (name: string): string => {
  const value = process.env[name]
  if (!value) throw new Error(`${name} is not set: run this by \`make ui-test\``)
  return value
}

/** Waits until something is there, and fails saying what was not. */
export async function until<T>(
  what: string,
  look: () => T | undefined | false | Promise<T | undefined | false>,
  patience = PATIENCE,
): Promise<T> {
  const deadline = Date.now() + patience
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (Date.now() > deadline) throw new Error(`waited ${patience / 1_000} s in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** A process, and what it has printed. */
class Program {
  output = ''
  readonly #child: ChildProcess
  readonly name: string

  constructor(name: string, file: string, args: string[], env: Record<string, string> = {}) {
    this.name = name
    this.#child = spawn(file, args, { cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
    const keep = (data: Buffer): void => {
      this.output = (this.output + data.toString()).slice(-20_000)
    }
    this.#child.stdout?.on('data', keep)
    this.#child.stderr?.on('data', keep)
    // However this program ends, what it started does not outlive it.
    process.on('exit', () => this.#child.kill('SIGKILL'))
  }

  async says(pattern: RegExp): Promise<string> {
    return until(`${this.name} says ${pattern}; it said:\n${this.output}`, () => {
      if (this.#child.exitCode !== null)
        throw new Error(`${this.name} ended (${this.#child.exitCode}):\n${this.output}`)
      return pattern.exec(this.output)?.[1]
    })
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null) return
    const ended = new Promise((resolve) => this.#child.once('exit', resolve))
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), 3_000)
    await ended
    clearTimeout(timer)
  }
}

export class World {
  readonly folder = mkdtempSync(join(tmpdir(), 'weir-ui-'))
  readonly #programs: Program[] = []
  controller = ''
  envoy = ''
  #ports: string[] = []

  /** A controller on a free port. */
  async serve(...args: string[]): Promise<void> {
    const weir = this.#start('weir', need('WEIR_BIN'), [
      'serve',
      '--listen',
      '127.0.0.1:0',
      '--decision-interval',
      '1s',
      '--ledger',
      join(this.folder, 'weir.db'),
      ...args,
    ])
    this.controller = await weir.says(/listening on (http:\/\/\S+)/)
  }

  /** Versions, Envoy before them, and users, so many requests a second. */
  async traffic(rate: number): Promise<void> {
    for (const version of ['v1', 'v2', 'v3']) {
      const service = this.#start(version, need('WEIR_DEMO'), ['service', '--version', version, '--seed', '7'])
      this.#ports.push(await service.says(/listening on \S*:(\d+)/))
    }
    const port = (address: string): string => new URL(address).port
    let text = readFileSync(join(root, 'envoy-config/standalone/envoy.yaml'), 'utf8')
    const replace = (from: string, to: string): void => {
      if (text.split(from).length !== 2) throw new Error(`envoy.yaml should say \`${from}\` once`)
      text = text.replace(from, to)
    }
    replace('port_value: 10000}', 'port_value: 0}')
    replace('port_value: 9901}', 'port_value: 0}')
    replace('port_value: 8181}', `port_value: ${port(this.controller)}}`)
    this.#ports.forEach((to, at) => replace(`port_value: 800${at + 1}}`, `port_value: ${to}}`))
    replace('filename: target/weir-filter.wasm', `filename: '${need('WEIR_FILTER')}'`)
    writeFileSync(join(this.folder, 'envoy.yaml'), text)
    const admin = join(this.folder, 'admin')
    this.#start('envoy', need('ENVOY'), [
      '-c',
      join(this.folder, 'envoy.yaml'),
      '--admin-address-path',
      admin,
      '--concurrency',
      '1',
      '--disable-hot-restart',
      '--log-level',
      'warning',
    ])
    this.envoy = await until('Envoy listens', async () => {
      try {
        const listeners = (await (
          await fetch(`http://${readFileSync(admin, 'utf8').trim()}/listeners?format=json`)
        ).json()) as { listener_statuses?: { local_address: { socket_address: { port_value: number } } }[] }
        const found = listeners.listener_statuses?.[0]?.local_address.socket_address.port_value
        return found ? `127.0.0.1:${found}` : undefined
      } catch {
        return undefined
      }
    })
    this.#start('users', need('WEIR_DEMO'), ['load', '--target', this.envoy, '--rate', String(rate), '--seed', '7'])
  }

  #start(name: string, file: string, args: string[]): Program {
    const program = new Program(name, file, args)
    this.#programs.push(program)
    return program
  }

  /** Ends the program of a name. */
  async end(name: string): Promise<void> {
    for (const program of this.#programs.filter((program) => program.name === name)) await program.end()
  }

  async ask<T>(path: string, body?: string | object, headers: Record<string, string> = {}): Promise<T> {
    const init: RequestInit =
      body === undefined
        ? { headers }
        : { method: 'POST', headers, body: typeof body === 'string' ? body : JSON.stringify(body) }
    const response = await fetch(`${this.controller}${path}`, init)
    const text = await response.text()
    if (!response.ok) throw new Error(`${path}: ${response.status} ${text}`)
    return JSON.parse(text) as T
  }

  async close(): Promise<void> {
    for (const program of [...this.#programs].reverse()) await program.end()
    rmSync(this.folder, { recursive: true, force: true })
  }
}
