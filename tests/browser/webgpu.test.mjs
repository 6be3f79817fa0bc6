// Headless Chromium must really compute on WebGPU here: without that, the tests of the engine's kernels in the
// browser would prove nothing.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';

import { launchChromium } from './chromium.mjs';
import { serve } from '../../tools/serve.mjs';

let browser;
let server;

before(async () => {
  // WebGPU needs a secure context, which localhost is and about:blank is not.
  server = await serve({ root: import.meta.dirname, port: 0 });
  browser = await launchChromium();
});

after(async () => {
  await browser?.close();
  await server?.close();
});

test('a compute shader doubles numbers in headless Chromium', async () => {
  const page = await browser.newPage();
  await page.goto(new URL('blank.html', server.url).href);
  const doubled = await page.evaluate(async () => {
    const adapter = await navigator.gpu.requestAdapter();
    const device = await adapter.requestDevice();
    const code = `@group(0) @binding(0) var<storage, read_write> x: array<f32>;
      @compute @workgroup_size(4) fn main(@builtin(global_invocation_id) id: vec3u) { x[id.x] *= 2.0; }`;
    const pipeline = device.createComputePipeline({
      layout: 'auto',
      compute: { module: device.createShaderModule({ code }) },
    });
    const { STORAGE, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;
    const buffer = device.createBuffer({ size: 16, usage: STORAGE | COPY_SRC | COPY_DST });
    const result = device.createBuffer({ size: 16, usage: MAP_READ | COPY_DST });
    device.queue.writeBuffer(buffer, 0, new Float32Array([1, 2, 3, 4]));
    const group = device.createBindGroup({
      layout: pipeline.getBindGroupLayout(0),
      entries: [{ binding: 0, resource: { buffer } }],
    });
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    pass.setPipeline(pipeline);
    pass.setBindGroup(0, group);
    pass.dispatchWorkgroups(1);
    pass.end();
    encoder.copyBufferToBuffer(buffer, 0, result, 0, 16);
    device.queue.submit([encoder.finish()]);
    await result.mapAsync(GPUMapMode.READ);
    return [...new Float32Array(result.getMappedRange())];
  });
  assert.deepEqual(doubled, [2, 4, 6, 8]);
});

test('without WebGPU there is no adapter, as on many visitors’ machines', async () => {
  const other = await launchChromium({ webgpu: false });
  try {
    const page = await other.newPage();
    await page.goto(new URL('blank.html', server.url).href);
    const adapter = await page.evaluate(async () => (await navigator.gpu?.requestAdapter()) ?? null);
    assert.equal(adapter, null);
  } finally {
    await other.close();
  }
});
