// What all charts share: a figure with a title, a sentence that says what is to be seen, the drawing, and the same as a table.
// Scales and shapes are d3's.

import { colour } from '../parts/common'
import type { ComponentChildren, JSX } from 'preact'
import { useLayoutEffect, useRef, useState } from 'preact/hooks'

export interface Margin {
  top: number
  right: number
  bottom: number
  left: number
}
export const MARGIN: Margin = { top: 12, right: 14, bottom: 36, left: 52 }

export interface Figure {
  title: string
  /** What is to be seen, in a sentence: also what a screen reader says of the drawing. */
  says: string
  legend?: ComponentChildren
  columns: string[]
  rows: (string | number)[][]
  height?: number
  children: (width: number, height: number) => ComponentChildren
}

export function Figure({ title, says, legend, columns, rows, height = 220, children }: Figure): JSX.Element {
  const box = useRef<HTMLDivElement>(null)
  const [width, setWidth] = useState(0)
  useLayoutEffect(() => {
    const element = box.current
    if (!element) return
    const observer = new ResizeObserver(() => setWidth(element.clientWidth))
    setWidth(element.clientWidth)
    observer.observe(element)
    return () => observer.disconnect()
  }, [])
  return (
    <figure class="chart">
      <figcaption>
        <strong>{title}</strong> <span class="muted">{says}</span>
      </figcaption>
      {legend}
      <div ref={box} style={{ height: `${height}px` }}>
        {width > 0 && (
          <svg
            width={width}
            height={height}
            viewBox={`0 0 ${width} ${height}`}
            role="img"
            aria-label={`${title}. ${says}`}
          >
            {children(width, height)}
          </svg>
        )}
      </div>
      <details>
        <summary>
          The same as a table<span class="unseen">: {title}</span>
        </summary>
        <div class="scroll" tabIndex={0} role="region" aria-label={`${title}, as a table`}>
          <table class="small">
            <thead>
              <tr>
                {columns.map((column) => (
                  <th key={column} scope="col">
                    {column}
                  </th>
                ))}
              </tr>
            </thead>
            <tbody>
              {rows.map((row, at) => (
                <tr key={at}>
                  {row.map((cell, column) =>
                    column === 0 ? (
                      <th key={column} scope="row">
                        {cell}
                      </th>
                    ) : (
                      <td key={column}>{cell}</td>
                    ),
                  )}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </details>
    </figure>
  )
}

export interface Tick {
  at: number
  text: string
}

export function AxisBottom({
  ticks,
  y,
  title,
  width,
  left = MARGIN.left,
}: {
  ticks: Tick[]
  y: number
  title: string
  width: number
  left?: number
}): JSX.Element {
  return (
    <g class="axis">
      <line x1={left} x2={width - MARGIN.right} y1={y} y2={y} />
      {ticks.map(({ at, text }) => (
        <g key={`${at}${text}`}>
          <line x1={at} x2={at} y1={y} y2={y + 4} />
          <text x={at} y={y + 16} text-anchor="middle">
            {text}
          </text>
        </g>
      ))}
      <text class="title" x={(left + width - MARGIN.right) / 2} y={y + 32} text-anchor="middle">
        {title}
      </text>
    </g>
  )
}

export function AxisLeft({ ticks, width }: { ticks: Tick[]; width: number }): JSX.Element {
  return (
    <g class="axis">
      {ticks.map(({ at, text }) => (
        <g key={`${at}${text}`}>
          <line class="grid" x1={MARGIN.left} x2={width - MARGIN.right} y1={at} y2={at} />
          <text x={MARGIN.left - 6} y={at + 4} text-anchor="end">
            {text}
          </text>
        </g>
      ))}
    </g>
  )
}

/** Which colour and dash is which version's: never by colour alone. */
export function Legend({ names, shown }: { names: string[]; shown?: boolean[] }): JSX.Element {
  return (
    <ul class="legend">
      {names.map(
        (name, at) =>
          (shown?.[at] ?? true) && (
            <li key={name}>
              <svg width="26" height="10" aria-hidden="true">
                <line class={`line ${colour(at)}`} x1="1" x2="25" y1="5" y2="5" />
              </svg>
              {name}
            </li>
          ),
      )}
    </ul>
  )
}
