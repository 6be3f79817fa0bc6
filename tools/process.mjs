// Running other programs from the project's scripts.

import { spawn, spawnSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's root folder. */
export const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

/** What a program printed, trimmed; `null` if it is missing or failed. */
export function capture(command, args) {
  const result = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  return result.status === 0 ? result.stdout.trim() : null;
}

/** Runs a program with its output on ours. Throws when it fails. */
export function run(command, args, options = {}) {
  const result = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options });
  if (result.error) throw new Error(`${command} cannot be started: ${result.error.message}`);
  if (result.status !== 0)
    throw new Error(`${[command, ...args].join(' ')} failed (${result.signal ?? `exit status ${result.status}`})`);
}

/** Runs a program with its output on ours, and returns its exit status and all it printed. */
export function runAndRead(command, args, env = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    let output = '';
    const pass = (from, to) =>
      from.setEncoding('utf8').on('data', (text) => {
        output += text;
        to.write(text);
      });
    pass(child.stdout, process.stdout);
    pass(child.stderr, process.stderr);
    child.on('error', (error) => resolve({ ok: false, output: `${command} cannot be started: ${error.message}` }));
    child.on('close', (status) => resolve({ ok: status === 0, output }));
  });
}

/** Ends a script with one clear line instead of a stack trace when something it needs is missing or fails. */
export async function main(task) {
  try {
    await task();
  } catch (error) {
    console.error(`\n${error instanceof Error ? error.message : error}`);
    process.exit(1);
  }
}
