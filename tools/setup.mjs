// Finds the tools that building and testing need, and installs what can be installed, saying so.

import { existsSync, readFileSync, readdirSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';

import { capture, root, run } from './process.mjs';
import { findChromium } from './find-chromium.mjs';

const WASM_TARGET = 'wasm32-unknown-unknown';

/** What `npm start` and `npm run build` need. */
export function setUpBuild() {
  checkNode();
  checkLinker();
  setUpRust();
  setUpWasmTarget();
  setUpPackages();
}

/** What `npm test` needs on top. */
export function setUpTests() {
  setUpBuild();
  setUpComponents();
  setUpBrowserAndVulkan();
}

function checkNode() {
  const [major, minor] = process.versions.node.split('.').map(Number);
  const usable = (major === 20 && minor >= 19) || (major === 22 && minor >= 12) || major >= 23;
  if (!usable) {
    throw new Error(
      `Node.js ${process.versions.node} is too old: version 20.19 or 22.12 or newer is needed (https://nodejs.org).`,
    );
  }
  if (capture('npm', ['--version']) === null)
    throw new Error('npm is missing: install it with Node.js (https://nodejs.org).');
}

// Cargo links build scripts and native binaries with the system's C compiler.
function checkLinker() {
  if (process.platform === 'win32' || capture('cc', ['--version']) !== null) return;
  const advice =
    process.platform === 'darwin' ? 'run `xcode-select --install`' : 'on Debian, run `apt-get install gcc libc6-dev`';
  throw new Error(`A C compiler (cc) is missing, which Rust needs for linking: ${advice}.`);
}

function setUpRust() {
  const cargoBin = path.join(process.env.CARGO_HOME ?? path.join(os.homedir(), '.cargo'), 'bin');
  if (existsSync(cargoBin)) process.env.PATH = `${process.env.PATH}${path.delimiter}${cargoBin}`;

  const wanted = /rust-version = "(\d+)\.(\d+)"/.exec(readFileSync(path.join(root, 'Cargo.toml'), 'utf8'));
  const [major, minor] = wanted.slice(1).map(Number);
  const version = capture('rustc', ['--version']);
  const found = version === null ? null : /(\d+)\.(\d+)/.exec(version).slice(1).map(Number);
  if (found !== null && (found[0] > major || (found[0] === major && found[1] >= minor))) return;

  if (capture('rustup', ['--version']) === null) {
    const state =
      found === null ? 'Rust is missing' : `${version} is too old (${major}.${minor} is needed) and rustup is missing`;
    throw new Error(`${state}: install rustup with the one command on https://rustup.rs, then run this again.`);
  }
  const toolchain = `${major}.${minor}.0`;
  console.log(`Installing Rust ${toolchain} beside ${version ?? 'no default toolchain'} (rustup toolchain install).`);
  run('rustup', ['toolchain', 'install', toolchain, '--profile', 'minimal']);
  process.env.RUSTUP_TOOLCHAIN = toolchain;
}

function setUpWasmTarget() {
  const library = path.join(capture('rustc', ['--print', 'sysroot']), 'lib', 'rustlib', WASM_TARGET);
  if (existsSync(library)) return;
  if (capture('rustup', ['--version']) === null) {
    throw new Error(
      `This Rust has no ${WASM_TARGET} target and no rustup to add it: install Rust with https://rustup.rs.`,
    );
  }
  console.log(`Adding Rust's ${WASM_TARGET} target (rustup target add).`);
  run('rustup', ['target', 'add', WASM_TARGET]);
}

function setUpComponents() {
  const missing = [
    ['rustfmt', 'fmt'],
    ['clippy', 'clippy'],
  ].filter(([, command]) => capture('cargo', [command, '--version']) === null);
  if (missing.length === 0) return;
  const names = missing.map(([component]) => component);
  console.log(`Adding Rust's ${names.join(' and ')} (rustup component add).`);
  run('rustup', ['component', 'add', ...names]);
}

function setUpPackages() {
  if (packagesInstalled()) return;
  console.log('Installing the npm packages of package-lock.json (npm ci).');
  run('npm', ['ci', '--no-audit', '--no-fund'], { shell: process.platform === 'win32' });
}

/** True when node_modules holds every version that package-lock.json asks for on this platform. */
function packagesInstalled() {
  const read = (file) => JSON.parse(readFileSync(path.join(root, file), 'utf8')).packages;
  if (!existsSync(path.join(root, 'node_modules/.package-lock.json'))) return false;
  const installed = read('node_modules/.package-lock.json');
  return Object.entries(read('package-lock.json')).every(
    ([name, entry]) => name === '' || entry.optional || installed[name]?.version === entry.version,
  );
}

function setUpBrowserAndVulkan() {
  const missing = [];
  if (findChromium() === null) missing.push('chromium', 'fonts-dejavu-core');
  if (process.platform === 'linux' && !hasVulkanDriver()) missing.push('mesa-vulkan-drivers', 'libvulkan1');
  if (missing.length === 0) return;

  if (capture('apt-get', ['--version']) === null) {
    throw new Error(
      `The tests need ${missing.join(', ')} (Debian's names), and there is no apt-get here: install them by hand, or name a Chromium in CHROMIUM.`,
    );
  }
  const isRoot = process.getuid() === 0;
  if (!isRoot && capture('sudo', ['-n', 'true']) === null) {
    throw new Error(
      `The tests need ${missing.join(', ')}: run \`sudo apt-get install ${missing.join(' ')}\`, then run this again.`,
    );
  }
  console.log(`Installing ${missing.join(', ')} (apt-get install).`);
  const apt = (...args) => {
    const command = ['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', ...args];
    if (isRoot) run(command[0], command.slice(1));
    else run('sudo', command);
  };
  apt('update', '--quiet');
  apt('install', '--quiet', '--yes', '--no-install-recommends', ...missing);
}

/** True when a Vulkan loader and at least one driver (lavapipe will do) are installed. */
function hasVulkanDriver() {
  const loader = capture('/sbin/ldconfig', ['-p'])?.includes('libvulkan.so.1') ?? false;
  const drivers = ['/usr/share/vulkan/icd.d', '/etc/vulkan/icd.d']
    .filter(existsSync)
    .flatMap((folder) => readdirSync(folder));
  return loader && drivers.some((name) => name.endsWith('.json'));
}
