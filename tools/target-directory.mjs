// Where cargo builds.

import { capture } from './process.mjs';

/** Cargo's target directory, whatever sets it (environment, configuration or the default). */
export function targetDirectory() {
  const metadata = capture('cargo', ['metadata', '--no-deps', '--format-version', '1']);
  if (metadata === null) throw new Error('`cargo metadata` failed: is Rust installed, and is Cargo.toml intact?');
  return JSON.parse(metadata).target_directory;
}
