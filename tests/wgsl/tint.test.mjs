// Every WGSL variant that the engine can generate, through Tint, the shader compiler of Chromium (Dawn for Node).
// The engine's own `shaders` test puts the same texts through naga, and writes them where this test reads them.
//
// Dawn's null backend validates without any GPU. Compiling each shader into a pipeline on a device with WebGPU's
// default limits shows on top that it keeps within what every browser grants: 16 KiB of workgroup memory,
// 256 invocations a workgroup, 8 storage buffers a stage.

import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { after, test } from 'node:test';

import { create } from 'webgpu';

import { root } from '../../tools/process.mjs';

const folder = path.join(root, 'target/wgsl');
const files = existsSync(folder) ? readdirSync(folder).filter((name) => name.endsWith('.wgsl')) : [];

let gpu = create(['backend=null']);
const adapter = await gpu.requestAdapter();
const device = await adapter.requestDevice();
after(() => {
  device.destroy();
  gpu = null;
});

/** Compiles a shader; the messages and validation errors that came of it, one a line. */
async function problems(code) {
  device.pushErrorScope('validation');
  const module = device.createShaderModule({ code });
  const { messages } = await module.getCompilationInfo();
  const lines = messages
    .filter(({ type }) => type !== 'info')
    .map(({ type, lineNum, message }) => `line ${lineNum}: ${type}: ${message}`);
  if (lines.length === 0) device.createComputePipeline({ layout: 'auto', compute: { module } });
  const error = await device.popErrorScope();
  if (error !== null && lines.length === 0) lines.push(error.message);
  return lines.join('\n');
}

test('Tint is really asked: a wrong type, and too much workgroup memory, are refused', async () => {
  assert.match(await problems('@compute @workgroup_size(1) fn main() { let x: u32 = 1.5; }'), /line 1: error/);
  const large = 'var<workgroup> a: array<f32, 4097>; @compute @workgroup_size(1) fn main() { a[0] = 1.0; }';
  assert.match(await problems(large), /workgroup/i);
});

test('the engine wrote its shaders', () => {
  assert.ok(files.length > 0, `${folder} has no shaders; run \`cargo test -p vaultlab-engine --test shaders\``);
});

for (const file of files) {
  test(file, async () => {
    assert.equal(await problems(readFileSync(path.join(folder, file), 'utf8')), '');
  });
}
